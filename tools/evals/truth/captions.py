"""Invented things of captions, plain and strict.

The measure is CHAIR (Rohrbach et al., 2018, arxiv.org/abs/1809.02156): of all things named, those
that are nowhere in the scene.
"""

from __future__ import annotations

from collections import Counter

from tools.evals.figures import Figure, share
from tools.nano.language import objects_in
from tools.nano.truth import Scene


class Captions:
    """Counts of the things that captions of scenes name."""

    def __init__(self) -> None:
        self._named: Counter[str] = Counter()
        self._invented: Counter[str] = Counter()
        self._found: Counter[str] = Counter()

    def add(self, scene: Scene, plain: str, strict: str | None) -> None:
        """Count the captions of one scene; `strict` is None if there is none."""
        truth = Counter((item.colour, item.shape) for item in scene.objects)
        for kind, text in (("plain", plain), ("strict", strict)):
            if text is not None:
                named = objects_in(text)
                self._named[kind] += named.total()
                self._found[kind] += (named & truth).total()
                self._invented[kind] += sum(named[each] for each in named if each not in truth)

    def figures(self) -> list[Figure]:
        """Return the share of invented things, and what strict captions change of it."""
        figures = [
            share(f"chair_{kind}", self._invented[kind], self._named[kind])
            for kind in ("plain", "strict")
            if self._named[kind]
        ]
        if self._invented["plain"] and self._named["strict"]:
            plain = self._invented["plain"] / self._named["plain"]
            strict = self._invented["strict"] / self._named["strict"]
            figures.append(Figure("chair_ratio", strict / plain, most=0.3))
            figures.append(
                share("chair_recall", self._found["strict"], self._found["plain"], least=0.97)
            )
        return figures
