"""Figures with their targets, as a table for people and as values for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_KEY_WIDTH = 26


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    key: str
    value: float | None
    """None if it was not measured."""
    least: float | None = None
    most: float | None = None
    note: str = ""
    """The things that were counted."""

    @property
    def target(self) -> str:
        """Return the target in words, empty without one."""
        if self.least is not None:
            return f"at least {self.least:g}"
        return "" if self.most is None else f"at most {self.most:g}"

    @property
    def is_met(self) -> bool | None:
        """Return whether the value reaches the target; None without either."""
        if self.value is None or not self.target:
            return None
        if self.least is not None:
            return self.value >= self.least
        return self.most is not None and self.value <= self.most


def share(key: str, part: int, whole: int, note: str = "", **target: float) -> Figure:
    """Return the figure `part` of `whole`, with both in its note."""
    counted = f"{part} of {whole}"
    value = part / whole if whole else None
    return Figure(key, value, note=f"{counted} {note}".strip(), **target)


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as text for people."""
    lines = [f"{'figure':<{_KEY_WIDTH}}{'value':>8}  {'target':<14}{'':6}note"]
    for figure in figures:
        value = "-" if figure.value is None else f"{figure.value:.3f}"
        met = {True: "met", False: "MISSED", None: ""}[figure.is_met]
        lines.append(
            f"{figure.key:<{_KEY_WIDTH}}{value:>8}  {figure.target:<14}{met:<8}{figure.note}"
        )
    return "\n".join(line.rstrip() for line in lines)


def as_json(figures: Iterable[Figure]) -> dict[str, object]:
    """Return the figures' values and targets by their keys."""
    return {
        figure.key: {"value": figure.value, "target": figure.target or None, "note": figure.note}
        for figure in figures
    }
