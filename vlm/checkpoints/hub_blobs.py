"""One file from the hub to the disk: received where it broke off, hashed, then given its name.

Until its hash is that of its name, content lies under another name. So whenever the process or the
machine stops, what has a name is whole and checked, and nothing else needs to be remembered.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vlm.checkpoints.hub_cache import CachedRepository, new_hash
from vlm.checkpoints.hub_failures import TruncatedError
from vlm.checkpoints.hub_progress import Meter
from vlm.checkpoints.hub_requests import TICK_S, Opened, check_cancelled
from vlm.errors import DiskFullError, FetchError

if TYPE_CHECKING:
    from hashlib import _Hash

_READ_BYTES: Final = 1 << 20
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

# From a first byte on: for None see `Hub.model_info`.
Content = Callable[[int], Iterator[Opened | bytes | None]]


@dataclass(frozen=True)
class RemoteFile:
    """A file of the commit that is fetched; `blob_name` is what it must hash to."""

    name: str
    size_bytes: int
    blob_name: str


class WrongContentError(Exception):
    """What came is as long as it should be, or longer, and is not the file."""


class BlobReceiver:
    """Receives `file` of `commit` into `repository`; `meter` counts its bytes, found ones too.

    Only who holds the lock of `locked` receives. What is received is kept where receiving fails,
    except on a full disk and where it turns out wrong.
    """

    def __init__(
        self,
        file: RemoteFile,
        repository: CachedRepository,
        commit: str,
        meter: Meter,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._file = file
        self._meter = meter
        self._is_cancelled = is_cancelled
        self._blob = repository.blob(file.blob_name)
        # Where links are not allowed, the file itself lies there.
        self._shown = repository.shown(commit, file.name)
        self._incomplete = repository.incomplete_blob(file.blob_name)
        self._lock_file = repository.lock_file(file.blob_name)
        self._hash: _Hash = new_hash(file.blob_name, file.size_bytes)
        self.received_bytes = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Waits until no other program receives the same file."""
        from filelock import Timeout
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

        with self._on_disk():
            self._blob.parent.mkdir(parents=True, exist_ok=True)
            self._lock_file.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            while True:
                check_cancelled(self._is_cancelled)
                with self._on_disk(), suppress(Timeout):
                    stack.enter_context(WeakFileLock(self._lock_file, timeout=TICK_S))
                    break
                self._meter.note = "Another program is fetching the same model; waiting for it."
                self._meter.tick()
            yield

    def is_here(self) -> bool:
        """Whether the file lies here, whole and right. A wrong one is removed."""
        for path in (self._blob, self._shown):
            with self._on_disk():
                if not path.is_file():
                    continue
                self._found(path)
                if self._is_right():
                    return True
                path.unlink()
            self._lose()
        return False

    def find_incomplete(self) -> None:
        """Goes on behind what an earlier fetch has left."""
        with self._on_disk():
            if self._incomplete.exists():
                self._found(self._incomplete)

    def receive(self, content: Content) -> None:
        """The rest of the file, in one attempt.

        Raises what `content` does, TruncatedError, WrongContentError and DiskFullError.
        """
        if self.received_bytes >= self._file.size_bytes:
            return
        try:
            with self._opened() as out:
                for piece in content(self.received_bytes):
                    if piece is None:
                        self._meter.tick()
                    elif isinstance(piece, bytes):
                        self._write(out, piece)
                    elif piece.first_byte != self.received_bytes:
                        self._begin_anew(out, piece.first_byte)
        except (DiskFullError, WrongContentError):
            # A full disk hurts every program; nothing may be left of what cannot be whole.
            self._discard()
            raise
        if self.received_bytes < self._file.size_bytes:
            raise TruncatedError

    def finish(self) -> None:
        """Gives the file its name; raises WrongContentError and removes it where it is not it."""
        if not self._is_right():
            self._discard()
            raise WrongContentError
        with self._on_disk():
            # The name must not reach the disk before the content, even if the power fails.
            with self._incomplete.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(self._incomplete, self._blob)

    def _discard(self) -> None:
        with suppress(OSError):
            self._incomplete.unlink(missing_ok=True)
        self._lose()

    def _is_right(self) -> bool:
        return (
            self.received_bytes == self._file.size_bytes
            and self._hash.hexdigest() == self._file.blob_name
        )

    def _found(self, path: Path) -> None:
        with path.open("rb") as opened:
            while piece := opened.read(_READ_BYTES):
                check_cancelled(self._is_cancelled)
                self._hash.update(piece)
                self.received_bytes += len(piece)
                self._meter.found(len(piece))

    def _lose(self) -> None:
        self._meter.found(-self.received_bytes)
        self.received_bytes = 0
        self._hash = new_hash(self._file.blob_name, self._file.size_bytes)

    def _begin_anew(self, out: int, first_byte: int) -> None:
        """Takes it from the start, where the hub does not go on in the middle."""
        if first_byte:
            raise TruncatedError
        with self._on_disk():
            os.ftruncate(out, 0)
        self._lose()

    def _write(self, out: int, piece: bytes) -> None:
        if self.received_bytes + len(piece) > self._file.size_bytes:
            raise WrongContentError
        with self._on_disk():
            written = 0
            while written < len(piece):
                written += os.write(out, memoryview(piece)[written:])
        self._hash.update(piece)
        self.received_bytes += len(piece)
        self._meter.came(len(piece))

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with self._on_disk():
            out = os.open(
                self._incomplete,
                os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0),
                0o644,
            )
        try:
            yield out
        finally:
            os.close(out)

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _DISK_FULL:
                raise DiskFullError(
                    "The disk is full, so what had been received of the file was removed. Make "
                    "room, or name a folder on another disk in HF_HOME."
                ) from None
            raise FetchError(
                f"The hub cache cannot be written: {error.strerror}. Set its rights, or name "
                "another folder in HF_HOME."
            ) from None
