"""The one thread that talks to the servers, and the event loop in it."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from vlm.errors import GenerationError
from vlm.remote.balancer import Balancer
from vlm.remote.client import Client
from vlm.remote.job import RemoteJob
from vlm.remote.limits import Limits
from vlm.remote.tries import Tries
from vlm.remote.upstream import Upstream
from vlm.types import Request, StreamEvent

CLOSED_MESSAGE = "The server is shutting down."


class Network:
    """Checks the servers from `start` to `close`, and has them caption. Safe from any thread."""

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        limits: Limits,
        chance: random.Random,
        key: str | None,
        wanted_model: str | None,
    ) -> None:
        self._upstreams = upstreams
        self._limits = limits
        self._chance = chance
        self._key = key
        self._wanted_model = wanted_model
        # A daemon: what a server is still saying must not hold up the exit.
        self._thread = threading.Thread(target=self._run, name="upstreams", daemon=True)
        self._started: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tries: Tries | None = None
        self._end = asyncio.Event()

    def start(self) -> None:
        """Begin to check the servers; raises what keeps the client from being set up."""
        self._thread.start()
        self._started.result()

    def caption(self, request: Request, job: RemoteJob, on_item: Callable[[], None]) -> None:
        """Have `job` get what comes of `request`, and `on_item` called with each item."""
        assert self._loop is not None, "asked before the start"
        work = self._caption(request, job, on_item)
        try:
            job.works_by(asyncio.run_coroutine_threadsafe(work, self._loop))
        except RuntimeError:
            # The loop is closed already.
            work.close()
            job.put(GenerationError(CLOSED_MESSAGE))

    def close(self, timeout_s: float) -> None:
        """Break off what is under way and end the thread; idempotent."""
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._end.set)
        except RuntimeError:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        try:
            client = Client(self._limits, self._key)
        except BaseException as error:
            self._started.set_exception(error)
            return
        balancer = Balancer(self._upstreams, client, self._limits, self._chance, self._wanted_model)
        self._tries = Tries(balancer, client, self._limits, self._key)
        self._loop = asyncio.get_running_loop()
        watches = [asyncio.create_task(balancer.watch(each)) for each in self._upstreams]
        self._started.set_result(None)
        await self._end.wait()
        under_way = asyncio.all_tasks() - {asyncio.current_task(), *watches}
        for task in [*watches, *under_way]:
            task.cancel()
        await asyncio.gather(*watches, *under_way, return_exceptions=True)
        await client.close()

    async def _caption(self, request: Request, job: RemoteJob, on_item: Callable[[], None]) -> None:
        assert self._tries is not None, "asked before the start"

        def put(item: StreamEvent | Exception) -> None:
            job.put(item)
            on_item()

        try:
            await self._tries.caption(request, put)
        except asyncio.CancelledError:
            put(GenerationError(CLOSED_MESSAGE))
            raise
        except Exception as error:
            put(error)
