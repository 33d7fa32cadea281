"""One caption by the servers: sent again where that is safe, and never shown in part as whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from vlm.remote.answer import Answer, Stage
from vlm.remote.balancer import Balancer
from vlm.remote.client import Client
from vlm.remote.failures import Failure
from vlm.remote.limits import Limits
from vlm.remote.upstream import Upstream
from vlm.remote.wire import body_of
from vlm.types import Request, Result, StreamEvent

Put = Callable[[StreamEvent], None]


class Tries:
    """What it takes to have a request captioned; for the thread of one event loop."""

    def __init__(self, balancer: Balancer, client: Client, limits: Limits, key: str | None) -> None:
        """`key` is what no message may hold."""
        self._balancer = balancer
        self._client = client
        self._limits = limits
        self._key = key

    async def caption(self, request: Request, put: Put) -> None:
        """Hands `put` TokenChunks as they come, then one Result.

        A request that no server has begun to answer is sent again, to another one where there is
        one. Raises BadRequestError, BusyError and the Upstream errors.
        """
        begun_s = time.perf_counter()
        # Compressing pictures takes milliseconds that would hold up the other answers.
        body = await asyncio.to_thread(body_of, request)
        tried: list[Upstream] = []
        while True:
            upstream = await self._balancer.choose(tried)
            tried.append(upstream)
            answer = Answer(request, self._key)
            try:
                return await self._try(upstream, body, answer, put, begun_s)
            except Failure as failure:
                self._balancer.failed(upstream, failure)
                is_shown = answer.stage != "waiting"
                if is_shown or not failure.may_retry or len(tried) == self._limits.tries:
                    raise failure.error(upstream.origin) from None
                upstream.retries += 1

    async def _try(
        self, upstream: Upstream, body: dict[str, Any], answer: Answer, put: Put, begun_s: float
    ) -> None:
        first_text_s = begun_s

        def take(data: str) -> Stage:
            nonlocal first_text_s
            chunk = answer.take(data)
            if chunk is not None:
                if first_text_s == begun_s:
                    first_text_s = time.perf_counter()
                put(chunk)
            return answer.stage

        upstream.requests += 1
        upstream.outstanding += 1
        upstream.last_sent_s = time.monotonic()
        try:
            await self._client.complete(upstream, body, take)
        except Failure:
            if not answer.is_whole:
                raise
        finally:
            upstream.outstanding -= 1
        finish_reason = answer.finish_reason()
        self._balancer.answered(upstream)
        stats = answer.stats(first_text_s - begun_s, time.perf_counter() - begun_s)
        put(Result(answer.text, finish_reason, stats))
