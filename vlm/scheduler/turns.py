"""Who waits for the engine, and whose turn is next. No thread in here: its owner locks.

Each camera has one place for a live frame, which a newer frame takes over. Cameras take turns.
Questions go first, but not for ever while a live frame waits.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Final, Generic, Protocol, TypeVar

from vlm.types import Request

# So many questions in a row while a live frame waits, then one frame.
QUESTIONS_IN_A_ROW: Final = 4


class Entry(Protocol):
    """What waits: anything that holds its request. It is told from others by identity."""

    @property
    def request(self) -> Request:
        """What is asked."""


E = TypeVar("E", bound=Entry)


class Schedule(Generic[E]):
    """The entries that wait, in the order in which they will be served.

    A camera that was served gets in line behind all that wait, whoever asks more often. Questions
    of nobody in particular share one line, as those of one camera do.
    """

    def __init__(self) -> None:
        # Both in the order of their cameras' turns; no camera without something that waits.
        self._frames: OrderedDict[Hashable, E] = OrderedDict()
        self._questions: OrderedDict[str | None, deque[E]] = OrderedDict()
        self._questions_in_a_row = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._frames) + sum(map(len, self._questions.values()))

    def has_room(self, request: Request, places: int) -> bool:
        """Whether `request` can wait where there are `places` in all: a newer frame needs none."""
        return len(self) < places or self._replaces(request)

    def add(self, entry: E) -> E | None:
        """Let `entry` wait; the frame whose place and turn it takes over, if any, is given back."""
        request = entry.request
        if not request.live:
            self._questions.setdefault(request.camera, deque()).append(entry)
            return None
        place = _place(entry)
        older = self._frames.get(place)
        self._frames[place] = entry
        return older

    def take(self) -> E | None:
        """The next to be served, which waits no longer; None where nobody waits."""
        if self._questions and not (
            self._frames and self._questions_in_a_row >= QUESTIONS_IN_A_ROW
        ):
            self._questions_in_a_row += 1
            camera, asked = self._questions.popitem(last=False)
            entry = asked.popleft()
            if asked:
                self._questions[camera] = asked
            return entry
        self._questions_in_a_row = 0
        return self._frames.popitem(last=False)[1] if self._frames else None

    def remove(self, entry: E) -> bool:
        """Let `entry` wait no longer; whether it did."""
        request = entry.request
        if request.live:
            place = _place(entry)
            if self._frames.get(place) is not entry:
                return False
            del self._frames[place]
            return True
        asked = self._questions.get(request.camera, deque())
        if entry not in asked:
            return False
        asked.remove(entry)
        if not asked:
            del self._questions[request.camera]
        return True

    def drain(self) -> Iterator[E]:
        """Each that waits, taken out in its turn."""
        while (entry := self.take()) is not None:
            yield entry

    def _replaces(self, request: Request) -> bool:
        return request.live and request.camera is not None and request.camera in self._frames


def _place(entry: Entry) -> Hashable:
    """Frames of the same place replace each other; one of no camera has its own."""
    return id(entry) if entry.request.camera is None else entry.request.camera
