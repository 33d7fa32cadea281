"""The course of a day: how many moments begin in each half hour, and the gaps between them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from vlm.timeline.query import Query, filters_of
from vlm.timeline.spans import GapReason

_HALF_HOUR_S: Final = 1800
_MOST_HALF_HOURS: Final = 20_000
_MOST_GAPS: Final = 500


@dataclass(frozen=True)
class Gap:
    """A time without captions; `to_s` is None while it lasts."""

    from_s: float
    to_s: float | None
    camera: str
    source: str
    why: GapReason


@dataclass(frozen=True)
class HalfHour:
    """What happened in a half hour."""

    from_s: float
    captions: int
    answers: int
    alerts: int


def half_hours(
    connection: sqlite3.Connection, from_s: float | None, to_s: float | None, camera: str = ""
) -> tuple[HalfHour, ...]:
    """Return the half hours in which moments begin, in order, at most 20,000."""
    where, values = filters_of(Query(from_s=from_s, to_s=to_s, camera=camera))
    rows = connection.execute(
        f"SELECT CAST(m.from_s / {_HALF_HOUR_S} AS INTEGER) AS at, sum(m.kind = 'caption'), "
        "sum(m.kind = 'answer'), sum(m.kind = 'alert') "
        f"FROM moments m WHERE {where} GROUP BY at ORDER BY at LIMIT {_MOST_HALF_HOURS}",
        values,
    )
    return tuple(HalfHour(at * _HALF_HOUR_S, *counts) for at, *counts in rows)


def gaps_between(
    connection: sqlite3.Connection, from_s: float | None, to_s: float | None, camera: str = ""
) -> tuple[Gap, ...]:
    """Return the gaps that overlap a time, the newest first, at most 500."""
    rows = connection.execute(
        "SELECT from_s, to_s, camera, source, why FROM gaps WHERE deletion IS NULL "
        "AND from_s < ? AND (to_s IS NULL OR to_s > ?) AND (? IN ('', camera, source)) "
        f"ORDER BY from_s DESC, id DESC LIMIT {_MOST_GAPS}",
        (float("inf") if to_s is None else to_s, from_s or float("-inf"), camera),
    )
    return tuple(Gap(*row) for row in rows)
