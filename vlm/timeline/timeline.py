"""The timeline of one server: what captions report to it, and what people ask of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from vlm.errors import BadRequestError, PartOffError, TimelineError, UnknownMomentError
from vlm.timeline import store
from vlm.timeline.choices import (
    DAYS,
    KEEPS,
    LEAST_MB,
    MOST_MB,
    Choice,
    Clock,
    Deletion,
    Keep,
    TimelineStatus,
)
from vlm.timeline.database import FaultError, reader
from vlm.timeline.looks import Looks
from vlm.timeline.meaning import Meaning, Vectors
from vlm.timeline.spans import GapReason, Look
from vlm.timeline.writer import Function, Writer

if TYPE_CHECKING:
    import sqlite3

# Pixels of the frames that wait to be written: 192 MB.
_MOST_PIXELS: Final = 64_000_000
_Answer = TypeVar("_Answer")


class Timeline:
    """Keeps moments in `file` if that was chosen. All methods may be called from any thread."""

    def __init__(
        self,
        file: Path,
        *,
        chosen: dict[str, str] | None = None,
        available: bool = True,
        clock: Clock | None = None,
    ) -> None:
        """`chosen` by the settings of the server: any of "keep", "days" and "mb".

        The file is made when something is to be kept for the first time.
        """
        self.file = file
        self.available = available
        self.vectors = Vectors()
        self._clock = clock or Clock()
        self._looks = Looks(self._clock.now(), self.vectors)
        self._chosen = chosen or {}
        # While there is no writer.
        self._choice = Choice().changed(self._chosen)
        self._writer: Writer | None = None
        self._writer_lock = threading.Lock()
        self._pixels = 0
        self._pixels_lock = threading.Lock()
        if available and (file.exists() or self._choice.keep != "off"):
            self._start()

    # -- what captions report: these methods never wait and never raise --

    @property
    def choice(self) -> Choice:
        """What is chosen; nothing is kept while there is a fault."""
        return self._choice if self._writer is None else self._writer.choice

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""
        return self._writer is not None and self._writer.choice.keep != "off"

    def add(self, look: Look) -> None:
        """Keep a caption or an answer, if that was chosen."""
        writer = self._writer
        if writer is None or not self.keeps:
            return
        pixels = 0 if look.image is None else look.image.width * look.image.height
        with self._pixels_lock:
            if self._pixels + pixels > _MOST_PIXELS:
                look, pixels = replace(look, image=None), 0
            self._pixels += pixels

        def release() -> None:
            with self._pixels_lock:
                self._pixels -= pixels

        with_picture = writer.choice.keep == "pictures"
        writer.post(lambda connection: self._looks.add(connection, look, with_picture), release)

    def add_gap(
        self,
        camera: str,
        why: GapReason,
        source: str = "",
        from_s: float | None = None,
        to_s: float | None = None,
    ) -> None:
        """Keep why a camera was not captioned; until its next caption, if `to_s` is left out."""
        now_s = self._clock.now()
        begin_s = now_s if from_s is None else min(from_s, now_s)
        end_s = None if to_s is None else min(to_s, now_s)
        self._post(lambda each: self._looks.add_gap(each, camera, why, source, begin_s, end_s))

    def add_trouble(self, camera: str) -> None:
        """Remember that a caption of `camera` failed, as the reason of a gap that follows."""
        self._post(lambda connection: self._looks.add_trouble(connection, camera))

    def add_sure(self, camera: str, at_s: float, sure: float) -> None:
        """Set how sure the model was, 0 to 1, of a look that was added just now."""
        self._post(lambda connection: self._looks.add_sure(connection, (camera, at_s), sure))

    # -- settings --

    def status(self) -> TimelineStatus:
        """Return what is kept, where, and since when it is not."""
        is_there = self.available and self.file.exists()
        used, moments = 0, 0
        if is_there:
            with suppress(FaultError), reader(self.file) as connection:
                used = store.used_bytes(connection)
                moments = store.count_moments(connection)
        return TimelineStatus(
            keep=self.choice.keep,
            days=self.choice.days,
            mb=self.choice.mb,
            available=self.available,
            file=str(self.file) if is_there else None,
            bytes=used,
            moments=moments,
            fault=None if self._writer is None else self._writer.fault,
        )

    def choose(
        self, keep: Keep | None = None, days: int | None = None, mb: int | None = None
    ) -> None:
        """Change what is kept. Raise BadRequestError, PartOffError or TimelineError."""
        self._check_available()
        if keep not in (None, *KEEPS):
            raise BadRequestError(f"keep must be one of: {', '.join(KEEPS)}.")
        if days not in (None, *DAYS):
            raise BadRequestError(f"days must be one of: {', '.join(map(str, DAYS))}.")
        if mb is not None and not LEAST_MB <= mb <= MOST_MB:
            raise BadRequestError(f"mb must be a whole number from {LEAST_MB} to {MOST_MB}.")
        given = {"keep": keep, "days": days, "mb": mb}
        values = {name: str(value) for name, value in given.items() if value is not None}
        if self._writer is None and values.get("keep", "off") == "off":
            # There is no file, and no reason for one.
            self._choice = self._choice.changed(values)
            self._chosen = self._chosen | values
            return
        self._start().choose(values)

    # -- moments --

    def keep_moment(self, moment: int, kept: bool) -> None:
        """Set whether the retention spares a moment; raise UnknownMomentError."""
        writer = self._writer_that_is()
        if writer is None or not writer.ask(lambda each: store.set_kept(each, moment, kept)):
            raise UnknownMomentError("There is no such moment in the timeline.")

    def delete(
        self, from_s: float | None = None, to_s: float | None = None, moment: int | None = None
    ) -> Deletion:
        """Delete a moment, or all that overlap a time; for good after UNDO_S seconds.

        Raise UnknownMomentError if there is no such moment.
        """
        writer = self._writer_that_is()
        if writer is not None:
            return writer.delete(from_s, to_s, moment)
        if moment is not None:
            raise UnknownMomentError("There is no such moment in the timeline.")
        return Deletion(0, 0, 0.0)

    def undo(self, deletion: int | None = None) -> int:
        """Take back a deletion, without a number the last one; return how many moments it had.

        Raise UnknownMomentError if it is too late.
        """
        writer = self._writer_that_is()
        if writer is None:
            raise UnknownMomentError("Nothing is in the timeline.")
        return writer.undo(deletion)

    def write(self, function: Function[_Answer]) -> _Answer:
        """Return what `function` returns in the writer thread, in a transaction of its own."""
        self._check_available()
        return self._start().ask(function)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection that reads, None before there is a file.

        Raise PartOffError or TimelineError.
        """
        self._check_available()
        if not self.file.exists():
            if self._writer is not None and self._writer.fault is not None:
                raise TimelineError(self._writer.fault.why)
            yield None
            return
        with reader(self.file) as connection:
            yield connection

    def use_meaning(self, meaning: Meaning | None) -> None:
        """Let `meaning` make the vectors of new moments and of queries."""
        self.vectors.meaning = meaning

    def settle(self) -> None:
        """Return when all that was reported before is written, and what is due is deleted."""
        if self._writer is not None:
            self._writer.settle()

    def close(self) -> None:
        """Write what waits, and end."""
        if self._writer is not None:
            self._writer.close()

    def _post(self, function: Function[None]) -> None:
        if self._writer is not None and self.keeps:
            self._writer.post(function)

    def _check_available(self) -> None:
        if not self.available:
            raise PartOffError("This server keeps no timeline (--no-timeline).")

    def _writer_that_is(self) -> Writer | None:
        """Return the writer, None before there is a file."""
        self._check_available()
        return self._start() if self._writer is not None or self.file.exists() else None

    def _start(self) -> Writer:
        with self._writer_lock:
            if self._writer is None:
                self._writer = Writer(self.file, self._chosen, self._clock, self._looks)
            return self._writer
