"""The timeline taken along: as text, tables, subtitles, a page, and lines that can be imported."""

from __future__ import annotations

import base64
import csv
import io
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, Final

from vlm.timeline.days import gaps_between
from vlm.timeline.query import Query
from vlm.timeline.report import PAGE_END, day_report, page_begin, picture_tag
from vlm.timeline.search import Moment, matching, picture_of

# A subtitle stays so long at least, if there is room before the next one.
_LEAST_CUE_S: Final = 1.0
# A chapter lasts so long at least.
_LEAST_CHAPTER_S: Final = 10.0
_CSV_COLUMNS: Final = ("date", "time", "to", "source", "question", "text", "sure", "model")
# Spreadsheets take a cell that begins so for a formula.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Format:
    """A form in which moments are taken along."""

    media_type: str
    suffix: str
    write: Callable[[sqlite3.Connection, Query], Iterator[str]]


def write_text(connection: sqlite3.Connection, query: Query) -> Iterator[str]:
    """Yield lines with time, source and text, under a line for each day."""
    day = ""
    for each in matching(connection, query):
        begin = _local(each.from_s)
        if f"{begin:%Y-%m-%d}" != day:
            yield ("\n" if day else "") + f"{begin:%A, %Y-%m-%d}\n"
            day = f"{begin:%Y-%m-%d}"
        span = f"{begin:%H:%M:%S}-{_local(each.to_s):%H:%M:%S}"
        words = f"{each.question} - {each.text}" if each.kind == "answer" else each.text
        yield f"{span}  {each.source + ': ' if each.source else ''}{_line(words)}\n"


def write_csv(connection: sqlite3.Connection, query: Query) -> Iterator[str]:
    """Yield rows of a table; times are local."""
    yield _row(_CSV_COLUMNS)
    for each in matching(connection, query):
        begin, end = _local(each.from_s), _local(each.to_s)
        sure = "" if each.sure is None else f"{each.sure:.3f}"
        cells = (each.source or each.camera, each.question, each.text, sure, each.model)
        yield _row((f"{begin:%Y-%m-%d}", f"{begin:%H:%M:%S}", f"{end:%H:%M:%S}", *cells))


def write_jsonl(connection: sqlite3.Connection, query: Query) -> Iterator[str]:
    """Yield lines of JSON with all that is kept, which `vlm.timeline.imports` reads."""
    for each in matching(connection, query):
        fields: dict[str, Any] = {
            "type": "moment",
            "from": each.from_s,
            "to": each.to_s,
            "kind": each.kind,
            "camera": each.camera,
            "source": each.source,
            "model": each.model,
            "question": each.question,
            "text": each.text,
            "sure": each.sure,
            "tags": each.tags,
            "finish": each.finish,
            "kept": each.kept,
            "picture": None,
        }
        jpeg = picture_of(connection, each.id) if each.has_picture else None
        if jpeg is not None:
            fields["picture"] = base64.b64encode(jpeg).decode()
        yield json.dumps(fields, ensure_ascii=False) + "\n"
    if not query.text.strip():
        for gap in reversed(gaps_between(connection, query.from_s, query.to_s, query.camera)):
            fields = {"type": "gap", "from": gap.from_s, "to": gap.to_s, "camera": gap.camera}
            yield json.dumps(fields | {"source": gap.source, "why": gap.why}) + "\n"


def write_srt(connection: sqlite3.Connection, query: Query) -> Iterator[str]:
    """Yield subtitles (SubRip). Their clock begins at the query's begin, else the first moment."""
    for number, (begin_s, end_s, text) in enumerate(_cues(connection, query), 1):
        yield f"{number}\n{_stamp(begin_s, ',')} --> {_stamp(end_s, ',')}\n{text}\n\n"


def write_vtt(connection: sqlite3.Connection, query: Query) -> Iterator[str]:
    """Yield subtitles (WebVTT), with the clock of `write_srt`."""
    yield "WEBVTT\n\n"
    for begin_s, end_s, text in _cues(connection, query):
        safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield f"{_stamp(begin_s, '.')} --> {_stamp(end_s, '.')}\n{safe}\n\n"


def write_chapters(connection: sqlite3.Connection, query: Query) -> Iterator[str]:
    """Yield the chapters of a video, "0:01:10 A red star.", as video sites read them."""
    last_s: float | None = None
    for begin_s, _, text in _cues(connection, query):
        if last_s is None or begin_s - last_s >= _LEAST_CHAPTER_S:
            # The first one must begin the video.
            last_s = 0.0 if last_s is None else begin_s
            minutes, seconds = divmod(int(last_s), 60)
            yield f"{minutes // 60}:{minutes % 60:02}:{seconds:02} {text}\n"


def write_html(connection: sqlite3.Connection, query: Query) -> Iterator[str]:
    """Yield a page of its own, with the small pictures in it."""
    yield page_begin("Timeline")
    day = ""
    for each in matching(connection, query):
        begin = _local(each.from_s)
        if f"{begin:%Y-%m-%d}" != day:
            day = f"{begin:%Y-%m-%d}"
            yield f"<h2>{begin:%A}, {day}</h2>\n"
        question = f"<p class=q>{escape(each.question)}</p>" if each.kind == "answer" else ""
        yield (
            f"<article>{picture_tag(connection, each)}<div><p class=t>{begin:%H:%M:%S}-"
            f"{_local(each.to_s):%H:%M:%S} {escape(each.source)}</p>{question}"
            f"<p>{escape(each.text)}</p></div></article>\n"
        )
    yield PAGE_END


FORMATS: Final = {
    "txt": Format("text/plain", "txt", write_text),
    "csv": Format("text/csv", "csv", write_csv),
    "jsonl": Format("application/jsonl", "jsonl", write_jsonl),
    "srt": Format("application/x-subrip", "srt", write_srt),
    "vtt": Format("text/vtt", "vtt", write_vtt),
    "html": Format("text/html", "html", write_html),
    "report": Format("text/html", "html", day_report),
}


def _cues(connection: sqlite3.Connection, query: Query) -> Iterator[tuple[float, float, str]]:
    """Yield begin, end and text of subtitles; one ends where the next one begins."""
    zero_s = query.from_s
    last: Moment | None = None
    for each in matching(connection, query):
        zero_s = each.from_s if zero_s is None else zero_s
        if last is not None:
            yield _cue(last, zero_s, each.from_s)
        last = each
    if last is not None and zero_s is not None:
        yield _cue(last, zero_s, float("inf"))


def _cue(moment: Moment, zero_s: float, next_s: float) -> tuple[float, float, str]:
    end_s = max(moment.to_s, moment.from_s + _LEAST_CUE_S)
    begin_s = max(0.0, moment.from_s - zero_s)
    # Of moments that begin together each is there for a blink.
    until_s = max(begin_s + 0.001, min(end_s, next_s) - zero_s)
    return begin_s, until_s, _line(moment.text)


def _stamp(seconds: float, mark: str) -> str:
    whole_ms = round(seconds * 1000)
    minutes, ms = divmod(whole_ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}{mark}{ms % 1000:03}"


def _line(text: str) -> str:
    """Return `text` in one line; a blank line or an arrow would end a subtitle."""
    return " ".join(text.split()).replace("-->", "→")


def _row(cells: Iterable[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(
        "'" + each if each.startswith(_FORMULA_STARTS) else each for each in cells
    )
    return out.getvalue()


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()
