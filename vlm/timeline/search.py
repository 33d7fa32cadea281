"""Moments by words, by meaning and by filters, and the gaps between them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from vlm.timeline.days import Gap, gaps_between
from vlm.timeline.meaning import Vectors, fuse
from vlm.timeline.query import THERE, Query, Terms, filters_of, read_terms
from vlm.timeline.spans import Kind

# Of each ranking so many are looked at.
_RANKED: Final = 400
# The least cosine of two pictures that are alike.
_LEAST_ALIKE: Final = 0.5
_MARKED: Final = re.compile("\x02([^\x03]*)\x03")
_CURSOR: Final = re.compile(r"(?:(-?\d{1,12}(?:\.\d{1,9})?)_(\d{1,18})|rank_(\d{1,6}))")
_COLUMNS: Final = (
    "m.id, m.from_s, m.to_s, m.kind, m.camera, m.source, m.model, m.question, m.text, m.sure, "
    "m.tags, m.finish, m.kept, EXISTS (SELECT 1 FROM pictures WHERE moment = m.id)"
)


@dataclass(frozen=True)
class Why:
    """Why a moment was found."""

    words: tuple[str, ...] = ()
    """The words of it that match."""
    similarity: float | None = None
    """The cosine of the query and the picture by a dual encoder; None without one."""


@dataclass(frozen=True)
class Moment:
    """One moment as it is stored. Times are seconds since 1970."""

    id: int
    from_s: float
    to_s: float
    kind: Kind
    camera: str
    source: str
    model: str
    question: str
    text: str
    sure: float | None
    tags: str
    finish: str
    kept: bool
    has_picture: bool
    why: Why = field(default_factory=Why)


@dataclass(frozen=True)
class Found:
    """One page of moments."""

    moments: tuple[Moment, ...] = ()
    gaps: tuple[Gap, ...] = ()
    """Those of the same time, if no words were looked for."""
    next: str | None = None
    """`before` of the next page; None if there is none."""


def search(connection: sqlite3.Connection, query: Query, vectors: Vectors | None = None) -> Found:
    """Return a page of the moments of `query`: the newest first, or with words the best first."""
    if query.like is not None:
        return _alike(connection, query, query.like, vectors)
    terms = read_terms(query.text, query.any_word)
    if not query.text.strip() or (terms.unwanted and not terms.wanted):
        return _newest(connection, query, terms)
    if not terms.wanted:
        return Found()
    return _best(connection, query, terms, vectors)


def matching(connection: sqlite3.Connection, query: Query) -> Iterator[Moment]:
    """Yield all moments of `query` by words and filters, the oldest first."""
    terms = read_terms(query.text)
    where, values = filters_of(query)
    if terms.wanted:
        inner = "SELECT rowid FROM words WHERE words MATCH ?"
        values.append(terms.words)
        if terms.parts:
            inner += " UNION SELECT rowid FROM parts WHERE parts MATCH ?"
            values.append(terms.parts)
        where += f" AND m.id IN ({inner})"
    elif query.text.strip() and not terms.unwanted:
        return
    elif terms.unwanted:
        where += " AND m.id NOT IN (SELECT rowid FROM words WHERE words MATCH ?)"
        values.append(_any_of(terms.unwanted))
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM moments m WHERE {where} ORDER BY m.from_s, m.id", values
    )
    for row in rows:
        yield _moment(row)


def moments_of(connection: sqlite3.Connection, ids: Sequence[int]) -> dict[int, Moment]:
    """Return the moments of these ids that are there, by id."""
    found = {}
    for start in range(0, len(ids), 500):
        some = [*ids[start : start + 500]]
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM moments m WHERE m.deletion IS NULL "
            f"AND m.id IN ({', '.join('?' * len(some))})",
            some,
        )
        found.update({row[0]: _moment(row) for row in rows})
    return found


def picture_of(connection: sqlite3.Connection, moment: int) -> bytes | None:
    """Return the small picture of a moment as JPEG; None if there is none."""
    row = connection.execute(
        "SELECT jpeg FROM pictures JOIN moments ON moments.id = moment "
        "WHERE moment = ? AND deletion IS NULL",
        (moment,),
    ).fetchone()
    return None if row is None else bytes(row[0])


def _newest(connection: sqlite3.Connection, query: Query, terms: Terms) -> Found:
    where, values = filters_of(query)
    if terms.unwanted:
        where += " AND m.id NOT IN (SELECT rowid FROM words WHERE words MATCH ?)"
        values.append(_any_of(terms.unwanted))
    to_s = query.to_s
    if (cursor := _CURSOR.fullmatch(query.before)) and cursor[1]:
        where += " AND (m.from_s, m.id) < (?, ?)"
        values += [float(cursor[1]), int(cursor[2])]
        to_s = float(cursor[1])
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM moments m WHERE {where} ORDER BY m.from_s DESC, m.id DESC LIMIT ?",
        [*values, query.limit + 1],
    ).fetchall()
    moments = tuple(_moment(row) for row in rows[: query.limit])
    more = len(rows) > query.limit
    # Those beside this page's moments; the last page has all that are older.
    from_s = moments[-1].from_s if more else query.from_s
    is_plain = not (terms.unwanted or query.kind or query.tag or query.kept or query.least_sure)
    gaps = gaps_between(connection, from_s, to_s, query.camera) if is_plain else ()
    after = f"{moments[-1].from_s:.9f}".rstrip("0").rstrip(".") if more else ""
    return Found(moments, gaps, f"{after}_{moments[-1].id}" if more else None)


def _best(
    connection: sqlite3.Connection, query: Query, terms: Terms, vectors: Vectors | None
) -> Found:
    cursor = _CURSOR.fullmatch(query.before)
    first = int(cursor[3]) if cursor and cursor[3] else 0
    most = max(_RANKED, first + query.limit + 1)
    where, values = filters_of(query)
    by_words = _ranked(connection, "words", terms.words, where, values, most)
    rankings, similar = [by_words], dict[int, float]()
    if len(by_words) < most and terms.parts:
        known = set(by_words)
        by_parts = _ranked(connection, "parts", terms.parts, where, values, most)
        rankings[0] = by_words + [each for each in by_parts if each not in known]
    vector = None if vectors is None else vectors.of_text(" ".join(terms.wanted))
    if vectors is not None and vector is not None:
        near = vectors.nearest(connection, vector, most)
        allowed = _allowed(connection, [each for each, _ in near], query)
        unwanted = _with_any(connection, terms.unwanted)
        similar = {each: value for each, value in near if each in allowed - unwanted}
        rankings.append([*similar])
    scores = fuse(rankings)
    order = sorted(scores, key=lambda each: (-scores[each], -each))
    chosen = order[first : first + query.limit]
    there, matched = moments_of(connection, chosen), _matched(connection, terms, chosen)
    moments = tuple(
        replace(there[each], why=Why(matched.get(each, ()), similar.get(each)))
        for each in chosen
        if each in there
    )
    more = len(order) > first + query.limit
    return Found(moments, (), f"rank_{first + query.limit}" if more else None)


def _alike(
    connection: sqlite3.Connection, query: Query, moment: int, vectors: Vectors | None
) -> Found:
    """Return the moments whose pictures are nearest to that of `moment`, without itself.

    None if no vector of it is kept. The query's words do not count.
    """
    vector = None if vectors is None else vectors.of_moment(connection, moment)
    if vectors is None or vector is None:
        return Found()
    # Another picture of an encoder is nearer than any text, so that its floor says nothing here.
    near = dict(vectors.nearest(connection, vector, _RANKED, floor=_LEAST_ALIKE))
    allowed = _allowed(connection, [*near], query)
    chosen = [each for each in near if each in allowed and each != moment][: query.limit]
    there = moments_of(connection, chosen)
    return Found(
        tuple(
            replace(there[each], why=Why(similarity=near[each])) for each in chosen if each in there
        )
    )


def _ranked(
    connection: sqlite3.Connection,
    table: str,
    expression: str,
    where: str,
    values: Sequence[object],
    most: int,
) -> list[int]:
    """Return the moments that match, the best first, of equals the newest."""
    if not expression:
        return []
    # Without a filter only the best are looked up in the table of moments.
    inner = f"SELECT rowid, rank FROM {table} WHERE {table} MATCH ?"
    if where == THERE:
        inner += f" ORDER BY rank, rowid DESC LIMIT {most}"
    rows = connection.execute(
        f"SELECT m.id FROM ({inner}) f JOIN moments m ON m.id = f.rowid WHERE {where} "
        f"ORDER BY f.rank, m.id DESC LIMIT {most}",
        [expression, *values],
    )
    return [row[0] for row in rows]


def _allowed(connection: sqlite3.Connection, ids: Sequence[int], query: Query) -> set[int]:
    where, values = filters_of(query)
    listed = ", ".join(map(str, ids))
    rows = connection.execute(
        f"SELECT m.id FROM moments m WHERE {where} AND m.id IN ({listed})", values
    )
    return {row[0] for row in rows}


def _with_any(connection: sqlite3.Connection, terms: Sequence[str]) -> set[int]:
    if not terms:
        return set()
    rows = connection.execute("SELECT rowid FROM words WHERE words MATCH ?", (_any_of(terms),))
    return {row[0] for row in rows}


def _any_of(terms: Iterable[str]) -> str:
    return " OR ".join(f'"{each}"' for each in terms)


def _matched(
    connection: sqlite3.Connection, terms: Terms, ids: Sequence[int]
) -> dict[int, tuple[str, ...]]:
    """Return the words of each moment that match."""
    listed, found = ", ".join(map(str, ids)), dict[int, tuple[str, ...]]()
    for table, expression in (("parts", terms.parts), ("words", terms.words)):
        if expression and listed:
            marked = ", ".join(f"highlight({table}, {at}, '\x02', '\x03')" for at in range(3))
            rows = connection.execute(
                f"SELECT rowid, {marked} FROM {table} WHERE {table} MATCH ? "
                f"AND rowid IN ({listed})",
                (expression,),
            )
            for moment, *texts in rows:
                words = [word for text in texts for word in _MARKED.findall(text or "")]
                found[moment] = tuple(dict.fromkeys(words))
    return found


def _moment(row: Sequence[Any]) -> Moment:
    moment = Moment(*row)
    return replace(moment, kept=bool(moment.kept), has_picture=bool(moment.has_picture))
