"""The timeline of one server: its settings, its writer thread, and what is wrong with its file.

Captions never wait for the disk: what is to be written goes into a bounded queue, and one thread
writes it. What cannot be written is lost, and `status` says since when and why.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeVar, cast

from filelock import FileLock, Timeout

from vlm.errors import BadRequestError, PartOffError, TimelineError, UnknownMomentError
from vlm.option_types import LEAST_TIMELINE_MB, MOST_TIMELINE_MB
from vlm.timeline import store
from vlm.timeline.database import (
    Fault,
    FaultError,
    fault,
    fault_of,
    open_writer,
    reader,
    transaction,
)
from vlm.timeline.meaning import Meaning, Vectors
from vlm.timeline.pictures import small_picture
from vlm.timeline.spans import GapReason, Look, Track

Keep = Literal["off", "words", "pictures"]
KEEPS: Final = ("off", "words", "pictures")
DAYS: Final = (1, 7, 30, 0)
LEAST_MB: Final = LEAST_TIMELINE_MB
MOST_MB: Final = MOST_TIMELINE_MB
UNDO_S: Final = 10.0

# Looks that wait for the disk; some seconds of many cameras.
_MOST_WAITING: Final = 512
# Pixels of the frames that wait with them: 192 MB.
_MOST_PIXELS: Final = 64_000_000
_TICK_S: Final = 1.0
_RETENTION_S: Final = 60.0
# After a fault the file is tried again so often.
_RETRY_S: Final = 5.0
_ANSWER_S: Final = 120.0
_MEGABYTE: Final = 1_000_000

_log = logging.getLogger("sightline")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Choice:
    """What a person has chosen."""

    keep: Keep = "off"
    days: int = 7
    """Moments are deleted when they are older; 0: never."""
    mb: int = 500
    """The oldest moments are deleted when there are more megabytes."""


@dataclass(frozen=True)
class FaultSince:
    """Why nothing is kept, and since when."""

    code: str
    why: str
    since: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class TimelineStatus:
    """What is kept, and where."""

    keep: Keep
    days: int
    mb: int
    # False if the server was started with --no-timeline.
    available: bool
    # The file, null before there is one.
    file: str | None
    bytes: int
    moments: int
    # Null while all is well.
    fault: FaultSince | None


@dataclass(frozen=True)
class Clock:
    """Sources of time; tests have their own."""

    now: Callable[[], float] = time.time
    """Seconds since 1970."""
    steady: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Deletion:
    """Moments that are deleted, and come back if it is undone in time."""

    deletion: int
    moments: int
    undo_s: float


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
        self._started_s = self._clock.now()
        self._chosen = chosen or {}
        self._choice = Choice()
        self._waiting: queue.Queue[Callable[[], None]] = queue.Queue(_MOST_WAITING)
        self._pixels = 0
        self._pixels_lock = threading.Lock()
        self._fault: FaultSince | None = None
        self._thread: threading.Thread | None = None
        self._thread_lock = threading.Lock()
        self._closing = False
        # Of the writer thread alone.
        self._connection: sqlite3.Connection | None = None
        self._lock: FileLock | None = None
        self._tracks: dict[str, Track] = {}
        self._undoable: dict[int, float] = {}
        self._deletions = 0
        self._must_forget = False
        self._retention_at_s = float("-inf")
        self._retry_at_s = float("-inf")
        if available and (file.exists() or self._chosen.get("keep", "off") != "off"):
            self._start()

    # -- what captions report --

    @property
    def keeps(self) -> bool:
        """Whether moments are kept now, or would be without a fault."""
        return self._choice.keep != "off"

    def add(self, look: Look) -> None:
        """Keep a caption or an answer, if that was chosen. Never waits and never raises."""
        if not self.keeps or self._closing:
            return
        pixels = 0 if look.image is None else look.image.width * look.image.height
        with self._pixels_lock:
            if self._pixels + pixels > _MOST_PIXELS:
                look, pixels = replace(look, image=None), 0
            self._pixels += pixels
        self._enqueue(lambda: self._write_look(look, pixels))

    def add_gap(
        self,
        camera: str,
        why: GapReason,
        source: str = "",
        from_s: float | None = None,
        to_s: float | None = None,
    ) -> None:
        """Keep why a camera was not captioned; until its next caption, if `to_s` is left out."""
        if not self.keeps or self._closing:
            return
        now_s = self._clock.now()
        begin_s = now_s if from_s is None else min(from_s, now_s)
        end_s = None if to_s is None else min(to_s, now_s)
        self._enqueue(lambda: self._write_gap(camera, why, source, begin_s, end_s))

    def add_trouble(self, camera: str) -> None:
        """Remember that a caption of `camera` failed, as the reason of a gap that follows."""
        if self.keeps and not self._closing:
            self._enqueue(lambda: self._note_trouble(camera))

    def add_sure(self, camera: str, text: str, sure: float) -> None:
        """Set how sure the model was of the camera's last caption, if that is still `text`."""
        if self.keeps and not self._closing:
            self._enqueue(lambda: self._write_sure(camera, text, sure))

    # -- settings --

    def status(self) -> TimelineStatus:
        """Return what is kept, where, and since when it is not."""
        is_there = self.available and self.file.exists()
        used, moments = 0, 0
        if is_there:
            with suppress(FaultError), reader(self.file) as connection:
                used = store.used_bytes(connection)
                (moments,) = connection.execute(
                    "SELECT count(*) FROM moments WHERE deletion IS NULL"
                ).fetchone()
        return TimelineStatus(
            keep=self._choice.keep,
            days=self._choice.days,
            mb=self._choice.mb,
            available=self.available,
            file=str(self.file) if is_there else None,
            bytes=used,
            moments=moments,
            fault=self._fault,
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
        if self._thread is None and values.get("keep", "off") == "off":
            # There is no file, and no reason for one.
            self._choice = _choice_of(values, self._choice)
            return
        self._start()
        self._ask(lambda: self._write_choice(values))

    # -- moments --

    def keep_moment(self, moment: int, kept: bool) -> None:
        """Set whether the retention spares a moment; raise UnknownMomentError."""
        self._check_there()
        if not self._ask(lambda: self._in_transaction(store.set_kept, moment, kept)):
            raise UnknownMomentError("There is no such moment in the timeline.")

    def delete(
        self, from_s: float | None = None, to_s: float | None = None, moment: int | None = None
    ) -> Deletion:
        """Delete a moment, or all that overlap a time; for good after UNDO_S seconds."""
        if not self._is_there():
            if moment is not None:
                raise UnknownMomentError("There is no such moment in the timeline.")
            return Deletion(0, 0, 0.0)
        return self._ask(lambda: self._delete(from_s, to_s, moment))

    def undo(self, deletion: int | None = None) -> int:
        """Take back a deletion, without a number the last one; return how many moments it had.

        Raise UnknownMomentError if it is too late.
        """
        self._check_there()
        return self._ask(lambda: self._undo(deletion))

    def write(self, function: Callable[[sqlite3.Connection], _Answer]) -> _Answer:
        """Call `function` in the writer thread, in a transaction of its own."""
        self._check_available()
        self._start()
        return self._ask(lambda: self._in_transaction(function))

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection | None]:
        """Yield a connection that reads, None before there is a file.

        Raise PartOffError or TimelineError.
        """
        if not self._is_there():
            yield None
            return
        with reader(self.file) as connection:
            yield connection

    def use_meaning(self, meaning: Meaning | None) -> None:
        """Let `meaning` make the vectors of new moments and of queries."""
        self.vectors.meaning = meaning

    def settle(self) -> None:
        """Return when all that was reported before is written, and what is due is deleted."""
        if self._thread is not None:
            self._ask(self._tick)

    def close(self) -> None:
        """Write what waits, and end."""
        self._closing = True
        if self._thread is not None:
            self._thread.join(timeout=_ANSWER_S)

    # -- the queue --

    def _check_available(self) -> None:
        if not self.available:
            raise PartOffError("This server keeps no timeline (--no-timeline).")

    def _is_there(self) -> bool:
        self._check_available()
        return self._thread is not None or self.file.exists()

    def _check_there(self) -> None:
        if not self._is_there():
            raise UnknownMomentError("Nothing is in the timeline.")

    def _start(self) -> None:
        with self._thread_lock:
            if self._thread is not None:
                return
            self._choice = _choice_of(self._chosen, self._choice)
            self._thread = threading.Thread(target=self._run, name="timeline", daemon=True)
            self._thread.start()
        # So that the choice in the file is known when this returns.
        with suppress(TimelineError):
            self._ask(lambda: None)

    def _enqueue(self, work: Callable[[], None]) -> None:
        try:
            self._waiting.put_nowait(work)
        except queue.Full:
            self._set_fault(fault("too_slow"))

    def _ask(self, work: Callable[[], _Answer]) -> _Answer:
        """Return what `work` returns in the writer thread; raise TimelineError if it cannot run."""
        answer: Future[_Answer] = Future()

        def run() -> None:
            try:
                self._open()
                answer.set_result(work())
            except Exception as error:
                answer.set_exception(error)

        if self._closing or self._thread is None:
            raise TimelineError("The server is shutting down.")
        try:
            self._waiting.put(run, timeout=_ANSWER_S)
            return answer.result(timeout=_ANSWER_S)
        except (sqlite3.Error, OSError) as error:
            found = fault_of(error)
            self._set_fault(found)
            raise TimelineError(found.why) from error
        except (queue.Full, TimeoutError) as error:
            raise TimelineError(fault("too_slow").why) from error

    # -- the writer thread --

    def _run(self) -> None:
        tick_at_s = time.monotonic() + _TICK_S
        while True:
            # Also while captions come faster than they can be written.
            is_due = time.monotonic() >= tick_at_s
            work: Callable[[], None] = self._tick_quietly
            if not is_due:
                try:
                    work = self._waiting.get(timeout=0.0 if self._closing else _TICK_S)
                except queue.Empty:
                    if self._closing:
                        break
                    is_due = True
            if is_due:
                tick_at_s = time.monotonic() + _TICK_S
            try:
                work()
            except Exception:
                # No moment is worth the thread.
                _log.exception("The timeline failed")
        self._shut()

    def _open(self) -> sqlite3.Connection:
        """Return the connection; raise FaultError if the file cannot be used."""
        if self._connection is not None:
            return self._connection
        if self._clock.steady() < self._retry_at_s and self._fault is not None:
            raise FaultError(Fault("unusable", self._fault.why))
        self._retry_at_s = self._clock.steady() + _RETRY_S
        try:
            self._hold()
            connection = open_writer(self.file)
            with transaction(connection):
                chosen, self._chosen = self._chosen, {}
                store.write_settings(connection, chosen.items())
                self._choice = _choice_of(store.read_settings(connection), self._choice)
                # A person deleted them, and this server ended before they were gone.
                self._must_forget = store.purge(connection) > 0
        except (OSError, sqlite3.Error, FaultError) as error:
            self._release()
            found = fault_of(error)
            self._set_fault(found)
            raise FaultError(found) from error
        self._connection = connection
        self._tracks.clear()
        self._fault = None
        return connection

    def _hold(self) -> None:
        """Hold the lock of the file, which the system frees when this process ends in any way."""
        if self._lock is not None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self.file}.lock", mode=0o600)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise FaultError(fault("in_use")) from None
        self._lock = lock

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _shut(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                if self._undoable:
                    self._purge([*self._undoable])
                if self._must_forget:
                    store.forget_deleted(self._connection)
            self._connection.close()
            self._connection = None
        self._release()

    def _set_fault(self, found: Fault) -> None:
        last = self._fault
        if last is None or last.code != found.code:
            since = self._clock.now() if last is None else last.since
            self._fault = FaultSince(found.code, found.why, since)
            _log.warning("Nothing is kept in the timeline: %s", found.why)

    def _failed(self, error: Exception) -> None:
        """Note why something was not written, and open the file anew the next time."""
        self._set_fault(fault_of(error))
        self._tracks.clear()
        if self._connection is not None and not isinstance(error, FaultError):
            self._connection.close()
            self._connection = None
            self._retry_at_s = float("-inf")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a transaction; what goes wrong is noted and not raised."""
        try:
            connection = self._open()
            with transaction(connection):
                yield connection
            self._fault = None
        except (sqlite3.Error, OSError, FaultError) as error:
            self._failed(error)

    def _in_transaction(self, function: Callable[..., _Answer], *values: object) -> _Answer:
        connection = self._open()
        with transaction(connection):
            return function(connection, *values)

    def _track(self, connection: sqlite3.Connection, camera: str, source: str) -> Track:
        track = self._tracks.get(camera)
        if track is None:
            track = self._tracks[camera] = store.find_track(connection, camera, source)
        return track

    def _write_look(self, look: Look, pixels: int) -> None:
        try:
            with self._writing() as connection:
                if look.kind == "caption":
                    track = self._track(connection, look.camera, look.source)
                    moment = store.add_look(connection, track, look, self._started_s)
                else:
                    moment = store.insert_moment(connection, look)
                if moment is None or look.image is None:
                    return
                if self._choice.keep == "pictures":
                    jpeg = small_picture(look.image)
                    if jpeg is not None:
                        store.insert_picture(connection, moment, jpeg)
                vector = self.vectors.of_image(look.image)
                if vector is not None:
                    store.insert_vector(connection, moment, *vector)
        finally:
            with self._pixels_lock:
                self._pixels -= pixels

    def _write_gap(
        self, camera: str, why: GapReason, source: str, from_s: float, to_s: float | None
    ) -> None:
        with self._writing() as connection:
            track = self._track(connection, camera, source)
            store.add_gap(connection, track, camera, source, from_s, to_s, why)

    def _note_trouble(self, camera: str) -> None:
        with self._writing() as connection:
            self._track(connection, camera, "").trouble = "model"

    def _write_sure(self, camera: str, text: str, sure: float) -> None:
        with self._writing() as connection:
            track = self._tracks.get(camera)
            if track is not None and track.moment is not None and track.same[0] == text:
                store.set_sure(connection, track.moment, sure)

    def _write_choice(self, values: dict[str, str]) -> None:
        self._in_transaction(store.write_settings, values.items())
        self._choice = _choice_of(values, self._choice)
        self._retention_at_s = float("-inf")

    def _delete(self, from_s: float | None, to_s: float | None, moment: int | None) -> Deletion:
        number = self._deletions + 1
        count = self._in_transaction(store.mark_deleted, number, from_s, to_s, moment)
        if count == 0 and moment is not None:
            raise UnknownMomentError("There is no such moment in the timeline.")
        self._deletions = number
        self._undoable[number] = self._clock.steady() + UNDO_S
        return Deletion(number, count, UNDO_S)

    def _undo(self, deletion: int | None) -> int:
        number = max(self._undoable, default=0) if deletion is None else deletion
        if self._clock.steady() >= self._undoable.get(number, float("-inf")):
            raise UnknownMomentError("It is too late to undo this deletion.")
        count = self._in_transaction(store.undo_deletion, number)
        del self._undoable[number]
        return count

    def _tick_quietly(self) -> None:
        if self._fault is not None and not self.keeps:
            return
        try:
            self._open()
            self._tick()
        except (sqlite3.Error, OSError, FaultError) as error:
            self._failed(error)

    def _tick(self) -> None:
        """Delete what is due: deletions that nobody has undone, and what is too old or too much."""
        connection, now_s = self._open(), self._clock.steady()
        due = [number for number, at_s in self._undoable.items() if now_s >= at_s]
        if due:
            self._purge(due)
        if now_s >= self._retention_at_s:
            most = self._choice.mb * _MEGABYTE
            with transaction(connection):
                count = store.delete_oldest(connection, self._clock.now(), self._choice.days, most)
            self._must_forget = self._must_forget or count > 0
            # A batch at a time, so that captions are written in between.
            self._retention_at_s = now_s if count > 0 else now_s + _RETENTION_S
            if count > 0:
                return
        if self._must_forget:
            self._must_forget = not store.forget_deleted(connection)

    def _purge(self, deletions: list[int]) -> None:
        self._in_transaction(store.purge, deletions)
        for number in deletions:
            self._undoable.pop(number, None)
        self._must_forget = True


def _choice_of(values: dict[str, str], before: Choice) -> Choice:
    """Return the choice that `values` name, and `before` for the rest."""
    return Choice(
        keep=cast(Keep, values.get("keep", before.keep)),
        days=int(values.get("days", before.days)),
        mb=int(values.get("mb", before.mb)),
    )
