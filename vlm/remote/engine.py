"""The engine whose model runs on other servers: the same streams, made from their answers."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Final

from vlm.errors import BadRequestError, ModelFailedError
from vlm.remote.job import RemoteJob
from vlm.remote.limits import Limits
from vlm.remote.network import CLOSED_MESSAGE, Network
from vlm.remote.upstream import Upstream, UpstreamStatus
from vlm.remote.wire import FRAME_SIZE_PX
from vlm.scheduler.protocol import never, stream_alone
from vlm.settings import Settings, read_key
from vlm.types import EngineInfo, Request, StreamEvent

# Enough for a server that batches; what is sent can no longer give way to a newer frame.
AT_ONCE_EACH: Final = 16
LIMITS: Final = Limits()

_STEP_S: Final = 0.01
_LOOK_EVERY_S: Final = 0.05
_CLOSE_S: Final = 5.0


def _silent(_: str) -> None:
    """Progress that nobody waits for."""


class RemoteEngine:
    """Has requests captioned by the servers of the settings, each by the one that has least to do.

    `info` is there once it is open. All but `upstreams` and `close` belong to one thread.
    """

    info: EngineInfo

    def __init__(
        self, settings: Settings, limits: Limits = LIMITS, chance: random.Random | None = None
    ) -> None:
        """Nothing is sent before `open`. `chance` spreads out when servers are asked again.

        Raises SettingsError where the key file of `settings` cannot be used.
        """
        key = read_key(settings.api_key_file) if settings.api_key_file else None
        self._upstreams = [Upstream(url, settings.remote_model) for url in settings.base_url]
        self._network = Network(
            self._upstreams, limits, chance or random.Random(), key, settings.remote_model
        )
        self._arrived = threading.Event()
        self._closed = threading.Event()
        self.at_once = AT_ONCE_EACH * len(self._upstreams)

    @classmethod
    def load(cls, settings: Settings, on_progress: Callable[[str], None] = _silent) -> RemoteEngine:
        """An open engine for `settings`; raises what `__init__` and `open` raise."""
        engine = cls(settings)
        engine.open(on_progress)
        return engine

    def open(self, on_progress: Callable[[str], None] = _silent) -> None:
        """Returns when one of the servers answers, however long that takes.

        `on_progress` gets a sentence for people whenever there is another reason to wait. Raises
        ModelFailedError where it is closed meanwhile.
        """
        self._network.start()
        told = ""
        while (ready := next((each for each in self._upstreams if each.healthy), None)) is None:
            words = self._waiting_words()
            if words != told:
                on_progress(words)
                told = words
            if self._closed.wait(_LOOK_EVERY_S):
                self._network.close(_CLOSE_S)
                raise ModelFailedError(CLOSED_MESSAGE)
        self.info = EngineInfo(
            model=ready.model or "",
            runtime="openai",
            device="remote",
            dtype="",
            frame_size_px=FRAME_SIZE_PX,
            remote=tuple(dict.fromkeys(each.origin for each in self._upstreams)),
        )

    def upstreams(self) -> tuple[UpstreamStatus, ...]:
        """The servers as they are now. Safe from any thread, before `open` too."""
        return tuple(each.status() for each in self._upstreams)

    def begin(self, request: Request, is_cancelled: Callable[[], bool] = never) -> RemoteJob:
        """Send `request` off; raises BadRequestError for one that cannot be asked."""
        if request.max_tokens < 1:
            raise BadRequestError("max_tokens must be at least 1.")
        job = RemoteJob(is_cancelled)
        self._network.caption(request, job, self._arrived.set)
        return job

    def advance(self, jobs: Sequence[RemoteJob]) -> list[list[StreamEvent | Exception]]:
        """What has come for each of `jobs`, after a wait of some milliseconds where nothing has."""
        self._arrived.clear()
        if not any(job.has_items for job in jobs):
            self._arrived.wait(_STEP_S)
        return [job.take() for job in jobs]

    def stream(
        self, request: Request, is_cancelled: Callable[[], bool] = never
    ) -> Generator[StreamEvent, None, None]:
        """TokenChunks as they arrive, then one Result; see `vlm.engine.engine.Engine.stream`.

        Raises BusyError, UpstreamDownError, UpstreamTimeoutError or UpstreamError where no server
        gave a whole answer, and BadRequestError where it was refused.
        """
        return stream_alone(self, request, is_cancelled)

    def stop_waiting(self) -> None:
        """Have an `open` under way in another thread end."""
        self._closed.set()

    def close(self) -> None:
        """Break off what is under way and talk to no server any more. Idempotent."""
        self._closed.set()
        self._network.close(_CLOSE_S)

    def _waiting_words(self) -> str:
        told = [
            f"{each.origin} {each.problem.rstrip('.')}"
            for each in self._upstreams
            if each.problem is not None and each.missed_checks > 0
        ]
        return f"Waiting for the model's server: {'; '.join(told)}" if told else ""
