"""The one thread that writes the timeline's file, and what it does by itself.

What is to be written goes into a bounded queue. What cannot be written is lost, and `fault` says
since when and why; captions go on.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from filelock import FileLock, Timeout

from vlm.errors import TimelineError, UnknownMomentError
from vlm.timeline import store
from vlm.timeline.choices import UNDO_S, Choice, Clock, Deletion, FaultSince
from vlm.timeline.database import (
    Fault,
    FaultError,
    fault,
    fault_of,
    open_writer,
    transaction,
)
from vlm.timeline.looks import Looks

# Looks that wait for the disk; some seconds of many cameras.
_MOST_WAITING: Final = 512
_TICK_S: Final = 1.0
_RETENTION_S: Final = 60.0
# After a fault the file is tried again so often.
_RETRY_S: Final = 5.0
_ANSWER_S: Final = 60.0
_MEGABYTE: Final = 1_000_000

_log = logging.getLogger("sightline")
_Answer = TypeVar("_Answer")
Function = Callable[[sqlite3.Connection], _Answer]


class Writer:
    """Writes to `file`, which it makes if it is absent, in a thread of its own."""

    def __init__(self, file: Path, chosen: dict[str, str], clock: Clock, looks: Looks) -> None:
        """`chosen` by the settings of the server goes before what is chosen in the file."""
        self.choice = Choice().changed(chosen)
        self.fault: FaultSince | None = None
        self._file = file
        self._chosen = chosen
        self._clock = clock
        self._looks = looks
        self._waiting: queue.Queue[Callable[[], None]] = queue.Queue(_MOST_WAITING)
        self._closing = False
        # Of the thread alone, from here on.
        self._connection: sqlite3.Connection | None = None
        self._lock: FileLock | None = None
        self._undoable: dict[int, float] = {}
        self._deletions = 0
        self._must_forget = False
        self._retention_at_s = float("-inf")
        self._retry_at_s = float("-inf")
        self._thread = threading.Thread(target=self._run, name="timeline", daemon=True)
        self._thread.start()
        # So that the choice in the file is known when this returns.
        with suppress(TimelineError):
            self.ask(lambda connection: None)

    # -- any thread --

    def post(self, function: Function[None], at_end: Callable[[], None] | None = None) -> None:
        """Call `function` in a transaction, some time; then `at_end`, however it went."""

        def work() -> None:
            try:
                self._write(function)
            except (sqlite3.Error, OSError, FaultError) as error:
                self._failed(error)
            finally:
                if at_end is not None:
                    at_end()

        try:
            self._waiting.put_nowait(work)
        except queue.Full:
            self._set_fault(fault("too_slow"))
            if at_end is not None:
                at_end()

    def ask(self, function: Function[_Answer]) -> _Answer:
        """Return what `function` returns in a transaction; raise TimelineError if that fails."""
        return self._ask(lambda: self._write(function))

    def choose(self, values: dict[str, str]) -> None:
        """Change the choice, in the file too."""

        def work() -> None:
            self._write(lambda connection: store.write_settings(connection, values.items()))
            self.choice = self.choice.changed(values)
            self._retention_at_s = float("-inf")

        self._ask(work)

    def delete(self, from_s: float | None, to_s: float | None, moment: int | None) -> Deletion:
        """Mark moments as deleted; they are deleted after UNDO_S."""

        def work() -> Deletion:
            number = self._deletions + 1
            count = self._write(
                lambda connection: store.mark_deleted(connection, number, from_s, to_s, moment)
            )
            if count == 0 and moment is not None:
                raise UnknownMomentError("There is no such moment in the timeline.")
            self._deletions = number
            self._undoable[number] = self._clock.steady() + UNDO_S
            return Deletion(number, count, UNDO_S)

        return self._ask(work)

    def undo(self, deletion: int | None) -> int:
        """Take back a deletion, None: the last one; raise UnknownMomentError if it is too late."""

        def work() -> int:
            number = max(self._undoable, default=0) if deletion is None else deletion
            if self._clock.steady() >= self._undoable.get(number, float("-inf")):
                raise UnknownMomentError("It is too late to undo this deletion.")
            count = self._write(lambda connection: store.undo_deletion(connection, number))
            del self._undoable[number]
            return count

        return self._ask(work)

    def settle(self) -> None:
        """Return when all that was posted before is written, and what is due is deleted."""
        self._ask(self._tick)

    def close(self) -> None:
        """Write what waits, and end."""
        self._closing = True
        # The thread may wait for work.
        with suppress(queue.Full):
            self._waiting.put_nowait(lambda: None)
        self._thread.join(timeout=_ANSWER_S)

    def _ask(self, work: Callable[[], _Answer]) -> _Answer:
        answer: Future[_Answer] = Future()

        def run() -> None:
            try:
                answer.set_result(work())
            except Exception as error:
                if isinstance(error, sqlite3.Error | OSError | FaultError):
                    self._failed(error)
                answer.set_exception(error)

        if self._closing:
            raise TimelineError("The server is shutting down.")
        try:
            self._waiting.put(run, timeout=_ANSWER_S)
            return answer.result(timeout=_ANSWER_S)
        # First: a TimeoutError is an OSError. (Of futures it is one from Python 3.11 on.)
        except (queue.Full, TimeoutError, FutureTimeoutError) as error:
            raise TimelineError((self.fault or fault("too_slow")).why) from error
        except (sqlite3.Error, OSError) as error:
            raise TimelineError(fault_of(error).why) from error

    # -- the thread --

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

    def _write(self, function: Function[_Answer]) -> _Answer:
        connection = self._open()
        with transaction(connection):
            answer = function(connection)
        self.fault = None
        return answer

    def _open(self) -> sqlite3.Connection:
        """Return the connection; raise FaultError if the file cannot be used."""
        if self._connection is not None:
            return self._connection
        last = self.fault
        if self._clock.steady() < self._retry_at_s and last is not None:
            raise FaultError(Fault(last.code, last.why))
        self._retry_at_s = self._clock.steady() + _RETRY_S
        connection = None
        try:
            self._hold()
            connection = open_writer(self._file)
            with transaction(connection):
                store.write_settings(connection, self._chosen.items())
                self.choice = self.choice.changed(store.read_settings(connection))
                # A person deleted them, and a server ended before they were gone.
                self._must_forget = store.purge(connection) > 0
        except (OSError, sqlite3.Error, FaultError) as error:
            if connection is not None:
                connection.close()
            self._release()
            raise FaultError(fault_of(error)) from error
        self._chosen = {}
        self._looks.forget()
        self._connection = connection
        return connection

    def _hold(self) -> None:
        """Hold the lock of the file, which the system frees when this process ends in any way."""
        if self._lock is not None:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{self._file}.lock", mode=0o600)
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
        last = self.fault
        if last is None or last.code != found.code:
            since = self._clock.now() if last is None else last.since
            self.fault = FaultSince(found.code, found.why, since)
            _log.warning("Nothing is kept in the timeline: %s", found.why)

    def _failed(self, error: Exception) -> None:
        """Note why something was not written. A damaged file is opened anew the next time."""
        found = fault_of(error)
        self._set_fault(found)
        self._looks.forget()
        is_hopeless = found.code in ("damaged", "unusable", "read_only")
        if self._connection is not None and is_hopeless:
            self._connection.close()
            self._connection = None
            self._retry_at_s = float("-inf")

    def _tick_quietly(self) -> None:
        try:
            self._tick()
        except (sqlite3.Error, OSError, FaultError) as error:
            self._failed(error)

    def _tick(self) -> None:
        """Delete what is due: deletions that nobody has undone, and what is too old or too much."""
        connection, now_s = self._open(), self._clock.steady()
        due = [number for number, at_s in self._undoable.items() if now_s >= at_s]
        if due:
            self._purge(due)
        if now_s >= self._retention_at_s and not self._delete_old():
            self._retention_at_s = now_s + _RETENTION_S
            most = self.choice.mb * _MEGABYTE
            if self._write(lambda each: store.delete_surplus(each, most)):
                self._must_forget = True
        if self._must_forget:
            self._must_forget = not store.forget_deleted(connection)

    def _delete_old(self) -> bool:
        """Delete a batch of what is too old; return whether there may be more.

        A batch at a time, so that captions are written in between.
        """
        if self.choice.days == 0:
            return False
        before_s = self._clock.now() - self.choice.days * store.DAY_S
        is_more = self._write(lambda connection: store.delete_old(connection, before_s))
        self._must_forget = self._must_forget or is_more
        return is_more

    def _purge(self, deletions: list[int]) -> None:
        self._write(lambda connection: store.purge(connection, deletions))
        for number in deletions:
            self._undoable.pop(number, None)
        self._must_forget = True
