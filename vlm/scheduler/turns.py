"""The order in which waiting requests run. Not thread-safe: the owner locks.

Each camera has one place for a live frame; a newer frame replaces the one that waits. Cameras take
turns. Questions go first, but a waiting live frame runs after QUESTIONS_IN_A_ROW of them.
Background requests run if nothing else waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from vlm.types import Request

QUESTIONS_IN_A_ROW: Final = 4


class Entry(Protocol):
    """Anything that holds a request. Entries are compared by identity."""

    @property
    def request(self) -> Request:
        """The request that waits."""


E = TypeVar("E", bound=Entry)


class TurnOrder(Generic[E]):
    """The waiting entries, in the order in which they will run.

    A camera that was served goes to the end, however often it sends. Requests of no camera in
    particular share one turn, as those of one camera do.
    """

    def __init__(self) -> None:
        # In the order of their cameras' turns; no camera has an empty place.
        self._frames: OrderedDict[Hashable, E] = OrderedDict()
        self._questions: _Lines[E] = _Lines()
        self._background: _Lines[E] = _Lines()
        self._questions_in_a_row = 0

    def __len__(self) -> int:
        return len(self._frames) + len(self._questions) + len(self._background)

    def has_room(self, request: Request, places: int) -> bool:
        """Return whether `request` can wait if there are `places`: a newer frame needs none."""
        return len(self) < places or (request.kind == "live" and request.camera in self._frames)

    def add(self, entry: E) -> E | None:
        """Add `entry`; return the live frame that it replaces, if any."""
        if entry.request.kind != "live":
            self._lines_of(entry).add(entry)
            return None
        place = _place(entry)
        older = self._frames.get(place)
        self._frames[place] = entry
        return older

    def take(self) -> E | None:
        """Remove and return the next entry, None if none waits."""
        is_frames_turn = self._frames and self._questions_in_a_row >= QUESTIONS_IN_A_ROW
        if self._questions and not is_frames_turn:
            self._questions_in_a_row += 1
            return self._questions.take()
        self._questions_in_a_row = 0
        if self._frames:
            return self._frames.popitem(last=False)[1]
        return self._background.take() if self._background else None

    def remove(self, entry: E) -> bool:
        """Remove `entry`; return whether it was waiting."""
        if entry.request.kind != "live":
            return self._lines_of(entry).remove(entry)
        place = _place(entry)
        if self._frames.get(place) is not entry:
            return False
        del self._frames[place]
        return True

    def drain(self) -> Iterator[E]:
        """Remove and yield every entry, in turn order."""
        while (entry := self.take()) is not None:
            yield entry

    def _lines_of(self, entry: E) -> _Lines[E]:
        return self._background if entry.request.kind == "background" else self._questions


class _Lines(Generic[E]):
    """One first-in, first-out line for each camera; the cameras take turns."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str | None, deque[E]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def add(self, entry: E) -> None:
        self._lines.setdefault(entry.request.camera, deque()).append(entry)

    def take(self) -> E:
        camera, line = self._lines.popitem(last=False)
        entry = line.popleft()
        if line:
            self._lines[camera] = line
        return entry

    def remove(self, entry: E) -> bool:
        line = self._lines.get(entry.request.camera, deque())
        if entry not in line:
            return False
        line.remove(entry)
        if not line:
            del self._lines[entry.request.camera]
        return True


def _place(entry: Entry) -> Hashable:
    """Return the key under which frames replace each other; a frame of no camera has its own."""
    return id(entry) if entry.request.camera is None else entry.request.camera
