"""One small model of the finder: loaded at the first need, and its failures told once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from vlm.errors import NotReadyError, PartFailedError, PartOffError, SightlineError, first_line

log = logging.getLogger("sightline")

# So long from its beginning, callers wait for a load in another thread. The load itself goes on, as
# it does for minutes if a model is downloaded.
LOAD_WAIT_S: Final = 5.0

Model = TypeVar("Model")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class PartStatus:
    """The state of one small model."""

    kind: str
    """ "detector", "classifier", "reader" or "dual encoder"."""
    name: str | None
    """None if it is off or could not be loaded."""
    is_loaded: bool
    problem: str | None
    """The error of the load or of the last frame."""
    failures: int
    """The number of failures, of the load and of frames."""


class Part(Generic[Model]):
    """A small model that the first call loads. Safe from any thread."""

    def __init__(self, kind: str, name: str | None, load: Callable[[], Model]) -> None:
        """`name` is None if the part is off."""
        self.kind = kind
        self._name = name
        self._load = load
        # Held during the load, so that one thread loads and others wait.
        self._loading = threading.Lock()
        self._model: Model | None = None
        # Time when a load began, by `time.monotonic`.
        self._began_s: float | None = None
        # Guards the fields below.
        self._lock = threading.Lock()
        self._broken: str | None = None
        self._problem: str | None = None
        self._failures = 0

    @property
    def name(self) -> str | None:
        """Its name; None if it is off."""
        return self._name

    @property
    def is_usable(self) -> bool:
        """Return whether it is neither off nor failed to load; it may not be loaded yet."""
        return self._name is not None and self._broken is None

    @property
    def status(self) -> PartStatus:
        """Return a snapshot."""
        with self._lock:
            return PartStatus(
                self.kind,
                None if self._broken else self._name,
                self._model is not None,
                self._broken or self._problem,
                self._failures,
            )

    def get(self) -> Model:
        """Return the model; the first call loads it.

        Raise PartOffError, PartFailedError, or NotReadyError LOAD_WAIT_S after the beginning of a
        load in another thread.
        """
        if self._name is None:
            raise PartOffError(f"The {self.kind} is switched off.")
        began_s = self._began_s or time.monotonic()
        if not self._loading.acquire(timeout=max(0.0, began_s + LOAD_WAIT_S - time.monotonic())):
            raise NotReadyError(f"The {self.kind} is still loading. Try again in a few seconds.")
        try:
            if self._broken is not None:
                raise PartFailedError(self._broken)
            if self._model is None:
                self._model = self._loaded()
            return self._model
        finally:
            self._loading.release()

    def call(self, use: Callable[[Model], Answer]) -> Answer:
        """Return `use` of the model; raise what `get` raises, and PartFailedError.

        The first failure is logged, with its reason and without the frame.
        """
        model = self.get()
        try:
            answer = use(model)
        except Exception as error:
            message = f"The {self.kind} {self._name} failed on a frame: {first_line(error)}."
            raise self._failed(message, error) from None
        with self._lock:
            self._problem = None
        return answer

    def _loaded(self) -> Model:
        self._began_s = time.monotonic()
        try:
            return self._load()
        except Exception as error:
            reason = str(error) if isinstance(error, SightlineError) else f"{first_line(error)}."
            message = f"The {self.kind} {self._name} could not be loaded. {reason}"
            failure = self._failed(message, error)
            with self._lock:
                self._broken = message
            raise failure from None

    def _failed(self, message: str, error: Exception) -> PartFailedError:
        with self._lock:
            self._failures += 1
            is_first = self._failures == 1
            self._problem = message
        if is_first:
            log.error("%s", message, exc_info=None if _is_told(error) else error)
        return PartFailedError(message)


def _is_told(error: Exception) -> bool:
    """Return whether the message of `error` was written for people, so that it says enough."""
    return isinstance(error, SightlineError)
