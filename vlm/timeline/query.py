"""What a person looks for in the timeline: words, and filters. Every text is a legal query."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

QUERY_MAX_CHARS: Final = 500
# The condition of a moment that was not deleted.
THERE: Final = "m.deletion IS NULL"
MOST_TERMS: Final = 32
MOST_MOMENTS: Final = 200
DEFAULT_MOMENTS: Final = 50

_TERM: Final = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')
# The index of parts knows texts of three characters or more.
_PART_CHARS: Final = 3


@dataclass(frozen=True)
class Query:
    """The moments that are looked for."""

    text: str = ""
    """Words, "quoted phrases" and -words; empty: all moments, the newest first."""
    any_word: bool = False
    """One of the words is enough; else all of them are needed."""
    from_s: float | None = None
    """Moments that end later than this, in seconds since 1970."""
    to_s: float | None = None
    """Moments that begin before this."""
    camera: str = ""
    """The name of a camera, or of a source."""
    kind: str = ""
    tag: str = ""
    least_sure: float | None = None
    """0 to 1; moments of which nothing is known are left out, too."""
    kept: bool = False
    """Only those that a person keeps."""
    like: int | None = None
    """Only moments whose pictures are like that of this moment, the most like first."""
    limit: int = DEFAULT_MOMENTS
    before: str = ""
    """Where the page before ended: `next` of its answer."""


@dataclass(frozen=True)
class Terms:
    """The parts of a query's text."""

    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]
    any_word: bool = False

    @property
    def words(self) -> str:
        """The expression of FTS5 for whole words, by their stems."""
        wanted = [_word(each) for each in self.wanted]
        return _expression(wanted, map(_quoted, self.unwanted), self.any_word)

    @property
    def parts(self) -> str:
        """The expression for parts of words; empty if one is too short, or one word is enough."""
        if self.any_word or any(len(each) < _PART_CHARS for each in self.wanted):
            return ""
        unwanted = [each for each in self.unwanted if len(each) >= _PART_CHARS]
        return _expression([*map(_quoted, self.wanted)], map(_quoted, unwanted))


def read_terms(text: str, any_word: bool = False) -> Terms:
    """Return the terms of any text. Those without a letter or a digit are left out."""
    # Lone surrogates cannot be stored, and NUL ends a text in SQLite.
    text = text.encode("utf-8", "replace").decode().replace("\0", " ")[:QUERY_MAX_CHARS]
    wanted: list[str] = []
    unwanted: list[str] = []
    for match in [*_TERM.finditer(text)][:MOST_TERMS]:
        term = " ".join((match[2] or match[3] or "").replace('"', " ").split())
        if any(each.isalnum() for each in term):
            (unwanted if match[1] else wanted).append(term)
    return Terms(tuple(wanted), tuple(unwanted), any_word)


def filters_of(query: Query) -> tuple[str, list[Any]]:
    """Return a condition in SQL on `moments m` of all of `query` but its text, and its values."""
    where, values = [THERE], list[Any]()
    for condition, value in (
        ("m.to_s >= ?", query.from_s),
        ("m.from_s < ?", query.to_s),
        ("? IN (m.camera, m.source)", query.camera or None),
        ("m.kind = ?", query.kind or None),
        ("instr(' ' || lower(m.tags) || ' ', ' ' || lower(?) || ' ')", query.tag or None),
        ("m.sure >= ?", query.least_sure),
    ):
        if value is not None:
            where.append(condition)
            values.append(value)
    if query.kept:
        where.append("m.kept = 1")
    return " AND ".join(where), values


def _expression(wanted: list[str], unwanted: Iterable[str], any_word: bool = False) -> str:
    left_out = "".join(f" NOT {each}" for each in unwanted)
    joint = " OR " if any_word else " AND "
    return f"({joint.join(wanted)}){left_out}" if wanted else ""


def _word(term: str) -> str:
    # While a word is typed, its first two letters find something already.
    return _quoted(term) + ("*" if len(term) < _PART_CHARS else "")


def _quoted(term: str) -> str:
    return f'"{term}"'
