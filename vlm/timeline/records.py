"""Answers by what captions name: when, how often and how long a thing was seen, by SQL alone."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from vlm.scoring.phrasing import with_article
from vlm.timeline.plans import Plan
from vlm.timeline.query import Query, filters_of
from vlm.timeline.spans import MOST_PAUSE_S
from vlm.timeline.things import named, singular

# Of appearances so many are named one by one, of kinds of things as well.
_NAMED: Final = 5
_KINDS_NAMED: Final = 12
_DENIED: Final = r"\b(?:no|not|never|without)\s+(?:\w+\s+){0,2}"
_TIMES: Final = {1: "once", 2: "twice"}


@dataclass(frozen=True)
class Sentence:
    """A sentence of an answer, with the moments that it is from."""

    text: str
    moments: tuple[int, ...]


@dataclass(frozen=True)
class Appearance:
    """A time in which a thing was in view, of one moment or of several without a pause."""

    from_s: float
    to_s: float
    moments: tuple[int, ...]


@dataclass(frozen=True)
class Recorded:
    """What captions say of a thing."""

    sentences: tuple[Sentence, ...]
    appearances: tuple[Appearance, ...] = ()
    """In order of time; empty if the question was for kinds of things."""


def recorded(
    connection: sqlite3.Connection, plan: Plan, query: Query, now_s: float
) -> Recorded | None:
    """Return the answer to a plan that is not "recall", None if no caption names the thing.

    Of `query` camera and times count. Times are told by this machine's clock.
    """
    where, values = filters_of(
        Query(from_s=query.from_s, to_s=query.to_s, camera=query.camera, kind="caption")
    )
    if plan.kind == "many":
        return _kinds(connection, plan, where, values)
    name, rows = _rows(connection, plan, where, values)
    appearances = _appearances(rows)
    if not appearances:
        return None
    return Recorded(tuple(_told(plan, name, appearances, now_s)), appearances)


def time_of(at_s: float, now_s: float) -> str:
    """Return a time for people: "today at 14:02", "on 3 May at 09:10"."""
    return f"{_day(at_s, now_s)} at {_clock(at_s)}"


def _rows(
    connection: sqlite3.Connection, plan: Plan, where: str, values: Sequence[object]
) -> tuple[str, list[tuple[int, float, float]]]:
    """Return the name of a thing, and the moments that name it: id, begin, end."""
    columns = f"SELECT m.id, m.from_s, m.to_s FROM moments m WHERE {where}"
    order = " ORDER BY m.from_s, m.id"
    if not plan.words:
        end = " DESC" if plan.kind == "last" else ""
        by_time = f"{columns} ORDER BY m.from_s{end}, m.id{end} LIMIT 1"
        return "Something", connection.execute(by_time, values).fetchall()
    thing = named(plan.phrase)
    asked = " ".join((*plan.words[:-1], singular(plan.words[-1])))
    attributes = thing.attribute.split()
    by_thing = (
        f"{columns} AND m.id IN (SELECT moment FROM things WHERE thing = ?"
        + " AND instr(' ' || attribute || ' ', ' ' || ? || ' ')" * len(attributes)
        + f"){order}"
    )
    # "woman" is one of the words for "person": only those that say so are meant.
    if asked.endswith(thing.thing):
        rows = connection.execute(by_thing, [*values, thing.thing, *attributes]).fetchall()
        if rows:
            return asked, rows
    by_words = (
        f"SELECT m.id, m.from_s, m.to_s, m.text FROM moments m WHERE {where} "
        f"AND m.id IN (SELECT rowid FROM words WHERE words MATCH ?){order}"
    )
    phrase = plan.phrase.replace('"', " ")
    denied = re.compile(_DENIED + re.escape(asked), re.IGNORECASE)
    matching = connection.execute(by_words, [*values, f'text : "{phrase}"']).fetchall()
    rows = [row[:3] for row in matching if not denied.search(row[3])]
    if rows:
        return asked, rows
    rows = connection.execute(by_thing, [*values, thing.thing, *attributes]).fetchall()
    return " ".join((*attributes, thing.thing)), rows


def _appearances(rows: Sequence[tuple[int, float, float]]) -> tuple[Appearance, ...]:
    """Return moments in order of time as appearances: a short pause ends none."""
    found: list[Appearance] = []
    for moment, from_s, to_s in rows:
        last = found[-1] if found else None
        if last is not None and from_s - last.to_s <= MOST_PAUSE_S:
            found[-1] = Appearance(last.from_s, max(last.to_s, to_s), (*last.moments, moment))
        else:
            found.append(Appearance(from_s, to_s, (moment,)))
    return tuple(found)


def _told(plan: Plan, name: str, appearances: Sequence[Appearance], now_s: float) -> list[Sentence]:
    thing = with_article(name) if plan.words else name
    thing = thing[0].upper() + thing[1:]
    first, last = appearances[0], appearances[-1]
    if plan.kind == "first":
        return [_sentence(f"{thing} was first seen {_span(first, now_s)}.", [first])]
    if plan.kind == "last":
        return [_sentence(f"{thing} was last seen {_span(last, now_s)}.", [last])]
    count = _TIMES.get(len(appearances), f"{len(appearances)} times")
    if plan.kind == "long":
        took = _duration(sum(each.to_s - each.from_s for each in appearances))
        seen = "" if len(appearances) == 1 else f", {count}"
        told = f"{thing} was in view for {took} in all{seen}."
        return [_sentence(told, appearances), *_ends(first, last, now_s)]
    if plan.kind == "often":
        told = f"{thing} was seen {count}."
        return [_sentence(told, appearances), *_ends(first, last, now_s)]
    newest = appearances[-_NAMED:]
    times = [_span(each, now_s) for each in newest]
    if len(newest) == len(appearances):
        return [_sentence(f"{thing} was seen {count}: {_joined(times)}.", newest)]
    lately = _sentence(f"The last {len(newest)} times: {_joined(times)}.", newest)
    return [_sentence(f"{thing} was seen {count}.", appearances), lately]


def _ends(first: Appearance, last: Appearance, now_s: float) -> list[Sentence]:
    if first is last:
        return [_sentence(f"That was {_span(first, now_s)}.", [first])]
    ends = f"First {_span(first, now_s)}, last {_span(last, now_s)}."
    return [_sentence(ends, [first, last])]


def _kinds(
    connection: sqlite3.Connection, plan: Plan, where: str, values: Sequence[object]
) -> Recorded | None:
    """Return how many different things were named, or of how many kinds one thing was."""
    column, thing = ("attribute", named(plan.phrase).thing) if plan.words else ("thing", "")
    rows = connection.execute(
        f"SELECT t.{column}, count(*) AS often, max(m.id) FROM things t "
        f"JOIN moments m ON m.id = t.moment WHERE {where} AND ? IN ('', t.thing) "
        f"GROUP BY t.{column} ORDER BY often DESC, t.{column}",
        [*values, thing],
    ).fetchall()
    if not rows:
        return None
    # Without an attribute it may be any of the others.
    names = [name for name, _, _ in rows if name] or [thing]
    told = names[:_KINDS_NAMED]
    if plan.words:
        what = plan.phrase if len(names) > 1 else singular(plan.phrase)
    else:
        what = "things" if len(names) > 1 else "thing"
    which = _joined(told) if len(told) == len(names) else f"{', '.join(told)} and others"
    were = "were" if len(names) > 1 else "was"
    text = f"{len(names)} different {what} {were} named: {which}."
    return Recorded((Sentence(text, tuple(row[2] for row in rows[:_KINDS_NAMED])),))


def _sentence(text: str, appearances: Sequence[Appearance]) -> Sentence:
    """Return a sentence that links the first moment of each appearance, of many the newest."""
    newest = appearances[-_KINDS_NAMED:]
    return Sentence(text, tuple(each.moments[0] for each in newest))


def _span(appearance: Appearance, now_s: float) -> str:
    begin, end = appearance.from_s, appearance.to_s
    if _day(begin, now_s) != _day(end, now_s):
        return f"from {time_of(begin, now_s)} to {time_of(end, now_s)}"
    if _clock(begin) == _clock(end):
        return time_of(begin, now_s)
    return f"{_day(begin, now_s)} from {_clock(begin)} to {_clock(end)}"


def _day(at_s: float, now_s: float) -> str:
    day, today = (datetime.fromtimestamp(each).date() for each in (at_s, now_s))
    if day == today:
        return "today"
    if day == today - timedelta(days=1):
        return "yesterday"
    year = "" if day.year == today.year else f" {day.year}"
    return f"on {day.day} {day:%B}{year}"


def _clock(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s):%H:%M}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "a moment"
    if seconds < 60:
        return count_of(round(seconds), "second")
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {count_of(minutes, 'minute')}"
    hours, rest = divmod(minutes, 60)
    return f"about {count_of(hours, 'hour')}" + (f" and {count_of(rest, 'minute')}" if rest else "")


def count_of(number: int, unit: str) -> str:
    """Return a number of things in words: "1 minute", "3 minutes"."""
    return f"{number} {unit}" + ("" if number == 1 else "s")


def _joined(texts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(texts[:-1]), texts[-1])))
