"""The report of a day: a page with what was seen, when, and when nothing was looked at."""

from __future__ import annotations

import base64
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime
from html import escape
from typing import Final

from vlm.timeline.days import gaps_between
from vlm.timeline.query import Query
from vlm.timeline.records import count_of
from vlm.timeline.search import Moment, matching, picture_of
from vlm.timeline.store import DAY_S

PAGE_END: Final = "</body>\n</html>\n"

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;"
    "color:#222;background:#fff}article{display:flex;gap:1rem;margin:.75rem 0}"
    "img{width:160px;height:auto;align-self:flex-start;border-radius:4px}p{margin:0}"
    ".t{color:#595959;font-size:.875rem}.q{font-weight:600}"
    "table{border-collapse:collapse}td,th{padding:.125rem 1rem .125rem 0;text-align:left}"
)
_REASONS: Final = {
    "stopped": "stopped by hand",
    "hidden": "the page was hidden",
    "server": "the server was away",
    "camera": "the camera was away",
    "model": "the model was away",
}
_MOST_THINGS: Final = 12
_MOST_TEXTS: Final = 40


def page_begin(title: str) -> str:
    """Return the begin of a page that needs no other file; PAGE_END ends it."""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n"
    )


def picture_tag(connection: sqlite3.Connection, moment: Moment) -> str:
    """Return the small picture of a moment as a tag with its bytes; empty if there is none."""
    jpeg = picture_of(connection, moment.id) if moment.has_picture else None
    if jpeg is None:
        return ""
    data = base64.b64encode(jpeg).decode()
    return f'<img alt="{escape(moment.text)}" src="data:image/jpeg;base64,{data}">'


def day_report(connection: sqlite3.Connection, query: Query) -> Iterator[str]:
    """Yield the report of the query's time; without one, of today."""
    from_s = _midnight() if query.from_s is None else query.from_s
    to_s = from_s + DAY_S if query.to_s is None else query.to_s
    span = Query(text=query.text, from_s=from_s, to_s=to_s, camera=query.camera)
    moments = [*matching(connection, span)]
    gaps = gaps_between(connection, from_s, to_s, query.camera)
    yield page_begin(f"Report of {_at(from_s, '%A, %Y-%m-%d')}")
    if not moments:
        yield "<p>Nothing was captioned.</p>\n" + PAGE_END
        return
    captions = [each for each in moments if each.kind == "caption"]
    seen_s = sum(each.to_s - each.from_s for each in captions)
    yield (
        f"<p>{count_of(len(captions), 'caption')}, "
        f"{count_of(sum(each.kind == 'answer' for each in moments), 'answer')} and "
        f"{count_of(sum(each.kind == 'alert' for each in moments), 'alert')}, from "
        f"{_at(moments[0].from_s)} to {_at(max(each.to_s for each in moments))}; "
        f"{_duration(seen_s)} in view.</p>\n"
    )
    yield from _things(connection, [each.id for each in captions])
    yield "<h2>Hours</h2>\n<table>\n"
    hours: dict[str, int] = {}
    for each in captions:
        hour = _at(each.from_s, "%H:00")
        hours[hour] = hours.get(hour, 0) + 1
    for hour, count in hours.items():
        yield f"<tr><th scope=row>{hour}<td>{count_of(count, 'change')}\n"
    yield "</table>\n"
    chosen = [each for each in moments if each.kept or each.kind != "caption"]
    if chosen:
        yield "<h2>Kept, answers and alerts</h2>\n"
        for each in chosen[:_MOST_TEXTS]:
            question = f"<p class=q>{escape(each.question)}</p>" if each.kind == "answer" else ""
            yield (
                f"<article>{picture_tag(connection, each)}<div><p class=t>{_at(each.from_s)} "
                f"{escape(each.source)}</p>{question}<p>{escape(each.text)}</p></div></article>\n"
            )
    if gaps:
        yield "<h2>Not looked at</h2>\n<table>\n"
        for gap in reversed(gaps):
            end = "now" if gap.to_s is None else _at(gap.to_s)
            yield f"<tr><th scope=row>{_at(gap.from_s)}-{end}<td>{_REASONS[gap.why]}\n"
        yield "</table>\n"
    yield PAGE_END


def _things(connection: sqlite3.Connection, moments: list[int]) -> Iterator[str]:
    counts: dict[str, list[float]] = {}
    for start in range(0, len(moments), 500):
        some = moments[start : start + 500]
        rows = connection.execute(
            "SELECT trim(attribute || ' ' || thing), from_s, to_s FROM things "
            f"JOIN moments ON moments.id = moment WHERE moment IN ({', '.join('?' * len(some))})",
            some,
        )
        for name, from_s, to_s in rows:
            entry = counts.setdefault(name, [0, from_s, to_s])
            entry[:] = [entry[0] + 1, min(entry[1], from_s), max(entry[2], to_s)]
    if counts:
        yield "<h2>Seen most</h2>\n<table>\n<tr><th>Thing<th>Times<th>First<th>Last\n"
        for name, (count, first_s, last_s) in sorted(
            counts.items(), key=lambda item: (-item[1][0], item[0])
        )[:_MOST_THINGS]:
            yield f"<tr><td>{escape(name)}<td>{count:.0f}<td>{_at(first_s)}<td>{_at(last_s)}\n"
        yield "</table>\n"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _at(seconds: float, form: str = "%H:%M") -> str:
    return time.strftime(form, time.localtime(seconds))


def _midnight() -> float:
    return datetime.now().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
