"""The engine whose model runs on other servers.

An event loop in a thread of its own checks the servers and runs the requests. It delivers each
event of a request to `on_event` itself, so that no other thread touches a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Literal

from vlm.checkpoints.catalogue import aliases
from vlm.errors import (
    BadRequestError,
    FormError,
    GenerationError,
    ModelFailedError,
    NotSupportedError,
    SightlineError,
)
from vlm.remote.balancer import Balancer
from vlm.remote.client import Client
from vlm.remote.upstream import Upstream, UpstreamLimits, UpstreamStatus
from vlm.remote.wire import FRAME_SIZE_PX
from vlm.results import EngineInfo, StreamEvent, TokenChunk
from vlm.scheduler.protocol import OnEvent
from vlm.scheduler.queue import CLOSED_MESSAGE
from vlm.settings import Settings, read_key
from vlm.types import AnswerTask, Request

log = logging.getLogger("sightline")

# Requests in flight for each server: enough for one that batches. What was sent can no longer be
# replaced by a newer frame.
MAX_BATCH_EACH: Final = 16
LIMITS: Final = UpstreamLimits()

_CLOSE_S: Final = 5.0
_CANCEL_S: Final = 0.2


class RemoteJob:
    """One request in flight. The event loop calls `deliver`; any thread may call `close`."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        # Held while an event is delivered, so that none comes after `close` has returned.
        # Reentrant, because `on_event` may close the job.
        self._lock = threading.RLock()
        self._has_ended = False
        self._task: Future[None] | None = None

    def run_by(self, task: Future[None]) -> None:
        """Let `close` cancel `task`."""
        self._task = task

    def deliver(self, event: StreamEvent | Exception) -> bool:
        """Hand on one event; return False if the job has ended, which drops the event."""
        with self._lock:
            if self._has_ended:
                return False
            self._has_ended = not isinstance(event, TokenChunk)
            self._on_event(event)
            return True

    def close(self) -> None:
        """Cancel the request: its connection closes, and no event comes any more. Idempotent."""
        with self._lock:
            self._has_ended = True
        if self._task is not None:
            self._task.cancel()


class RemoteEngine:
    """Runs requests on the servers of the settings.

    `info` is set once it is open, and another one if the servers run another model. One thread
    calls `open`, `begin` and `close`.
    """

    pushes: Literal[True] = True
    info: EngineInfo

    def __init__(
        self,
        settings: Settings,
        limits: UpstreamLimits = LIMITS,
        jitter: random.Random | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Send nothing before `open`; raise SettingsError if the key file cannot be read.

        `jitter` varies the pauses before a failed server is checked again. The event loop calls
        `on_change` when the health or the problem of a server has changed.
        """
        self._key = read_key(settings.api_key_file) if settings.api_key_file else None
        self._model = settings.remote_model
        self._upstreams = [Upstream(url, self._model) for url in settings.base_url]
        self._limits = limits
        self._jitter = jitter or random.Random()
        self.max_batch = MAX_BATCH_EACH * len(self._upstreams)
        # Set when a server's health changes, and by `stop_waiting`.
        self._wake_open = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._loop: Future[asyncio.AbstractEventLoop] = Future()
        self._balancer: Balancer | None = None
        self._on_change = on_change
        # Set by `close`, and the tasks that it cancels; for the loop's thread.
        self._end = asyncio.Event()
        self._requests: set[asyncio.Task[None]] = set()

    def open(self, on_progress: Callable[[str], None]) -> None:
        """Connect; return when one of the servers is healthy, however long that takes.

        `on_progress` receives a sentence for people whenever the reason to wait changes. Raise
        ModelFailedError if `stop_waiting` is called meanwhile, and CertificateFileError.
        """
        is_tls = any(each.origin.startswith("https:") for each in self._upstreams)
        client = Client(self._limits, self._key, is_tls)
        self._balancer = Balancer(
            self._upstreams,
            client,
            self._limits,
            self._jitter,
            self._model,
            self._key,
            self._on_upstream_change,
        )
        # A daemon: an answer in flight must not delay the exit.
        self._thread = threading.Thread(
            target=asyncio.run,
            args=(self._main(client, self._balancer),),
            name="upstreams",
            daemon=True,
        )
        self._thread.start()
        progress = ""
        while (ready := next((each for each in self._upstreams if each.healthy), None)) is None:
            words = self._waiting_words()
            if words != progress:
                on_progress(words)
                progress = words
            self._wake_open.wait()
            self._wake_open.clear()
            if self._stopped:
                self.close()
                raise ModelFailedError(CLOSED_MESSAGE)
        self.info = self._info_of(ready.model or "")

    def upstreams(self) -> tuple[UpstreamStatus, ...]:
        """Return a snapshot of the servers. Any thread may call it, also before `open`."""
        return tuple(each.status() for each in self._upstreams)

    def begin(self, request: Request, on_event: OnEvent) -> RemoteJob:
        """Start `request`; the event loop calls `on_event` with each of its events.

        The last event is a Result, or an Exception: BusyError or an UpstreamError if no server gave
        a complete answer, BadRequestError if a server rejected the request, GenerationError if the
        engine was closed. Raise BadRequestError if the request cannot be run at all, and
        GenerationError if the engine is closed already.
        """
        task = request.task
        if not isinstance(task, AnswerTask) or task.explain or task.claims != "off":
            raise NotSupportedError(
                "This needs a model that runs here: a server of OpenAI's API does not say how "
                "likely given answers are, or what a word looked at."
            )
        if request.answer_task.max_tokens < 1:
            raise BadRequestError("max_tokens must be at least 1.")
        if request.answer_task.has_form and request.answer_task.prompt_end == "final_text":
            raise FormError(
                "The server of this model applies a form to new answers only, not to one that "
                "continues a message."
            )
        job = RemoteJob(on_event)
        work = self._run(request, job)
        try:
            job.run_by(asyncio.run_coroutine_threadsafe(work, self._loop.result()))
        except RuntimeError:
            # The loop is closed.
            work.close()
            raise GenerationError(CLOSED_MESSAGE) from None
        return job

    def stop_waiting(self) -> None:
        """End an `open` that waits in another thread."""
        self._stopped = True
        self._wake_open.set()

    def close(self) -> None:
        """Cancel all requests and close all connections. Idempotent."""
        if self._thread is None:
            return
        # RuntimeError: the loop is closed already.
        with contextlib.suppress(RuntimeError):
            self._loop.result().call_soon_threadsafe(self._end.set)
        self._thread.join(_CLOSE_S)

    def _waiting_words(self) -> str:
        problems = [
            f"{each.origin} {each.problem.rstrip('.')}"
            for each in self._upstreams
            if each.problem is not None and each.missed_checks > 0
        ]
        return f"Waiting for the model's server: {'; '.join(problems)}" if problems else ""

    def _info_of(self, model: str) -> EngineInfo:
        return EngineInfo(
            model=model,
            runtime="openai",
            device="remote",
            dtype="",
            frame_size_px=FRAME_SIZE_PX,
            remote=tuple(dict.fromkeys(each.origin for each in self._upstreams)),
            aliases=aliases(model),
        )

    # -- the event loop --

    def _on_upstream_change(self) -> None:
        self._wake_open.set()
        names = [each.model for each in self._upstreams if each.healthy and each.model]
        if hasattr(self, "info") and names and self.info.model not in names:
            self.info = self._info_of(names[0])
        self._on_change()

    async def _main(self, client: Client, balancer: Balancer) -> None:
        watches = [asyncio.create_task(balancer.watch(each)) for each in self._upstreams]
        self._loop.set_result(asyncio.get_running_loop())
        await self._end.wait()
        # Not `asyncio.all_tasks`: the HTTP client cancels the tasks that it has started itself.
        tasks = {*watches, *self._requests}
        left = tasks
        while left:
            for task in left:
                task.cancel()
            # Once more if need be: in Python 3.10, a time limit of anyio that ends at that moment
            # takes the cancellation for its own.
            _, left = await asyncio.wait(left, timeout=_CANCEL_S)
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.close()

    async def _run(self, request: Request, job: RemoteJob) -> None:
        assert self._balancer is not None, "the loop runs"
        task = asyncio.current_task()
        assert task is not None, "a coroutine runs in a task"
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        try:
            await self._balancer.run(request, job.deliver)
        except asyncio.CancelledError:
            job.deliver(GenerationError(CLOSED_MESSAGE))
            raise
        except Exception as error:
            if not job.deliver(error) and not isinstance(error, SightlineError):
                # `on_event` itself has failed.
                log.error("The end of a request could not be delivered", exc_info=error)
