"""Exports: each format has all moments, and JSON lines are imported unchanged."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from vlm.errors import BadRequestError
from vlm.timeline.exports import FORMATS
from vlm.timeline.imports import add_imported, read_lines
from vlm.timeline.query import Query
from vlm.timeline.spans import Look
from vlm.timeline.timeline import Timeline

NOON_S = 1_764_504_000.0
TEXTS = ("A red star.", "=A <b>café</b> & a star --> here.", "Two\n\nlines.", "A red star.")


@pytest.fixture
def timeline(tmp_path: Path) -> Iterator[Timeline]:
    kept = Timeline(tmp_path / "kept.sqlite3", chosen={"keep": "pictures", "days": "0"})
    for at, text in enumerate(TEXTS):
        image = Image.linear_gradient("L").convert("RGB")
        kept.add(Look(NOON_S + 20 * at, text, camera="a", source="Door", model="nano", image=image))
    kept.add(Look(NOON_S + 90, "No.", "answer", question="Rain?", sure=0.25, tags="wet day"))
    kept.settle()
    kept.keep_moment(1, True)
    yield kept
    kept.close()


def exported(timeline: Timeline, form: str, **query: object) -> str:
    with timeline.reading() as connection:
        assert connection is not None
        return "".join(FORMATS[form].write(connection, Query(**query)))  # type: ignore[arg-type]


def test_each_form_has_all_moments(timeline: Timeline) -> None:
    text = exported(timeline, "txt")
    assert [text.count(each) for each in ("A red star.", "Two lines.", "Rain? - No.")] == [2, 1, 1]
    rows = [*csv.DictReader(io.StringIO(exported(timeline, "csv")))]
    assert [row["text"] for row in rows] == [TEXTS[0], "'" + TEXTS[1], *TEXTS[2:], "No."]
    assert (rows[-1]["question"], rows[-1]["sure"]) == ("Rain?", "0.250")
    assert exported(timeline, "txt", text="café -red").count("star") == 1
    report = exported(timeline, "report", from_s=NOON_S - 60)
    assert "4 captions, 1 answer and 0 alerts" in report and "<td>red star<td>2" in report
    assert report.count("the server was away") == 3


def test_subtitles_are_in_order_and_do_not_overlap(timeline: Timeline) -> None:
    for form, mark in (("srt", ","), ("vtt", ".")):
        found = re.findall(rf"(\d\d):(\d\d):(\d\d\{mark}\d{{3}})", exported(timeline, form))
        times = [
            int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
            for hours, minutes, seconds in found
        ]
        assert times == sorted(times) and len(times) == 2 * 5
        assert times[:4] == [0, 1, 20, 21]
        assert exported(timeline, form).count("-->") == 5


def test_a_page_has_pictures_and_no_foreign_tag(timeline: Timeline) -> None:
    tags: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            values = dict(attrs)
            assert "href" not in values
            assert str(values.get("src", "data:")).startswith("data:")

    Parser().feed(exported(timeline, "html"))
    assert tags.count("img") == 4 and "b" not in tags


def test_lines_come_back_as_they_were(timeline: Timeline, tmp_path: Path) -> None:
    lines = exported(timeline, "jsonl")
    other = Timeline(tmp_path / "other.sqlite3", chosen={"keep": "off"})
    items = [*read_lines(io.StringIO(lines))]
    done = other.write(lambda connection: add_imported(connection, items))
    assert (done.moments, done.gaps, done.known) == (5, 3, 0)
    assert exported(other, "jsonl") == lines
    again = other.write(lambda connection: add_imported(connection, items))
    assert (again.moments, again.gaps, again.known) == (0, 0, 8)
    other.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"from": 1e400}, "from"),
        ({"from": 10**400}, "from"),
        ({"to": 0}, "ends before"),
        ({"kind": "other"}, "kind"),
        ({"text": 7}, "text"),
        ({"text": "a" * 30_000}, "text"),
        ({"picture": "no"}, "picture"),
        ({"sure": True}, "sure"),
    ],
)
def test_a_wrong_line_is_named(timeline: Timeline, change: dict[str, object], words: str) -> None:
    first, *others = exported(timeline, "jsonl").splitlines()
    wrong = json.dumps(json.loads(first) | change)
    with pytest.raises(BadRequestError, match=rf"Line 5 .*{words}"):
        list(read_lines([*others[:4], wrong]))
    with pytest.raises(BadRequestError, match="Line 1 "):
        list(read_lines(["[" * 100_000]))
