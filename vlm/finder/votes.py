"""Vote over a camera's last frames: live, a name needs several of them.

Over 24 photographs, each as six frames that move a little, the line changes between neighbours in
40 of 120 pairs without votes and in 15 with them. Votes make no name righter: a steady mistake
stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from vlm.finder.sentence import MOST_NAMES, FirstLine, Name

_WINDOW: Final = 3
# A name needs so many of the window's frames to come, and so many to stay. The first frame of a
# camera, or after a pause, speaks alone.
_TO_COME: Final = 2
_TO_STAY: Final = 1
# A line that is older says nothing about the scene now. The page sends a still scene every 10 s.
_LONGEST_AGE_S: Final = 5.0
_EMPTY: Final = FirstLine(None, ())


@dataclass(frozen=True)
class Votes:
    """The state of one camera. Immutable: `after` returns the next state."""

    recent: tuple[tuple[float, FirstLine], ...] = ()
    """The newest frames' own lines with their times in seconds, the oldest first."""
    line: FirstLine = _EMPTY
    """The line after these votes."""

    def after(self, line: FirstLine, at_s: float) -> Votes:
        """Return the state after another frame's line; `at_s` is any clock in seconds."""
        recent = tuple(
            (then_s, old) for then_s, old in self.recent if at_s - then_s <= _LONGEST_AGE_S
        )
        said = self.line if recent else _EMPTY
        recent = (*recent, (at_s, line))[-_WINDOW:]
        lines = [old for _, old in recent]
        voted = FirstLine(_voted_place(lines, said), _voted_names(lines, said), line.texts)
        return Votes(recent, voted)


def _needed(was_said: bool, frames: int) -> int:
    return _TO_STAY if was_said else min(_TO_COME, frames)


def _voted_place(lines: list[FirstLine], said: FirstLine) -> str | None:
    """Return the place of most frames; of two with equal votes the one that is already said."""
    places = [line.place for line in lines if line.place is not None]
    voted = [
        place
        for place in dict.fromkeys(reversed(places))
        if places.count(place) >= _needed(place == said.place, len(lines))
    ]
    return max(voted, key=lambda place: (places.count(place), place == said.place), default=None)


def _voted_names(lines: list[FirstLine], said: FirstLine) -> tuple[Name, ...]:
    """Return the voted names, the largest on average first."""
    names = sorted((name for line in lines for name in line.names), key=lambda name: name.name)
    said_names = {name.name for name in said.names}
    voted = [
        _merged(votes)
        for name, group in groupby(names, key=lambda name: name.name)
        if len(votes := list(group)) >= _needed(name in said_names, len(lines))
    ]
    return tuple(sorted(voted, key=lambda name: -name.area)[:MOST_NAMES])


def _merged(votes: list[Name]) -> Name:
    """Return the newest vote with the mean area and the commonest phrase, else the newest."""
    phrases = [vote.phrase for vote in votes]
    phrase = max(reversed(phrases), key=phrases.count)
    mean = sum(vote.area for vote in votes) / len(votes)
    return replace(votes[-1], phrase=phrase, area=mean)
