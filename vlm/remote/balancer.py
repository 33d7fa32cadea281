"""Which server a request goes to: the one with the least under way of those that answer."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Sequence
from typing import Final

import anyio

from vlm.errors import BusyError, SightlineError, UpstreamDownError
from vlm.remote.client import Client
from vlm.remote.failures import Failure
from vlm.remote.limits import Limits
from vlm.remote.upstream import Upstream

log = logging.getLogger("sightline")

# How many servers' problems one message tells.
_TOLD: Final = 3


class Balancer:
    """Keeps watch over the servers and chooses among them; for the thread of one event loop."""

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        client: Client,
        limits: Limits,
        chance: random.Random,
        wanted_model: str | None,
    ) -> None:
        """`chance` spreads out when servers are asked again."""
        self._upstreams = upstreams
        self._client = client
        self._limits = limits
        self._chance = chance
        self._wanted_model = wanted_model
        self._left_out = {id(upstream): asyncio.Event() for upstream in upstreams}
        # Set, and replaced, whenever a server may have become free to take requests.
        self._changed = asyncio.Event()

    async def watch(self, upstream: Upstream) -> None:
        """Check `upstream` now and then, as long as the task lives."""
        left_out = self._left_out[id(upstream)]
        while True:
            await self._check(upstream)
            if upstream.healthy:
                with anyio.move_on_after(self._limits.check_every_s):
                    await left_out.wait()
            if not upstream.healthy:
                await asyncio.sleep(self._pause_s(upstream))
            left_out.clear()

    async def choose(self, tried: Sequence[Upstream]) -> Upstream:
        """The server to send a request to, rather none of those that were `tried` already.

        Waits for one where none takes requests. Raises BusyError or UpstreamDownError where that
        would take too long.
        """
        give_up_s = time.monotonic() + self._limits.wait_s
        while True:
            there = [each for each in self._upstreams if each.healthy]
            ready = [each for each in there if each.rest_s == 0]
            if ready:
                # One that was left alone longest goes first among equals.
                return min(ready, key=lambda it: (it in tried, it.outstanding, it.last_sent_s))
            left_s = give_up_s - time.monotonic()
            rest_s = min((each.rest_s for each in there), default=math.inf)
            if left_s <= 0 or math.inf > rest_s > left_s:
                raise self._nobody(there, rest_s)
            with anyio.move_on_after(min(rest_s, left_s)):
                await self._changed.wait()

    def answered(self, upstream: Upstream) -> None:
        """It has given a whole answer."""
        upstream.faults_in_a_row = 0
        upstream.problem = None

    def failed(self, upstream: Upstream, failure: Failure) -> None:
        """It has not; whether it is left out for that depends on what was the matter."""
        if failure.kind == "refused":
            return
        upstream.failures += 1
        upstream.faults_in_a_row += 1
        upstream.problem = failure.words
        if failure.kind == "busy":
            asked_s = failure.retry_after_s
            rest_s = self._pause_s(upstream) if asked_s is None else asked_s
            upstream.rest(min(rest_s, self._limits.longest_rest_s))
        elif failure.kind != "broken" or (upstream.faults_in_a_row >= self._limits.faults_in_a_row):
            self._leave_out(upstream)

    async def _check(self, upstream: Upstream) -> None:
        try:
            names = await self._client.list_models(upstream)
        except Failure as failure:
            self._miss(upstream, failure.words)
        except Exception:
            log.exception("A check of %s failed", upstream.origin)
            self._miss(upstream, "could not be checked; the server's log tells why.")
        else:
            upstream.model = self._wanted_model or names[0]
            upstream.missed_checks = 0
            if not upstream.healthy:
                upstream.healthy = True
                upstream.problem = None
                self._tell_change()

    def _miss(self, upstream: Upstream, words: str) -> None:
        upstream.missed_checks += 1
        upstream.problem = words
        self._leave_out(upstream)

    def _leave_out(self, upstream: Upstream) -> None:
        upstream.healthy = False
        self._left_out[id(upstream)].set()

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _pause_s(self, upstream: Upstream) -> float:
        failures = max(1, upstream.missed_checks, upstream.faults_in_a_row)
        whole_s = min(
            self._limits.pause_s * 2.0 ** min(failures - 1, 30), self._limits.longest_pause_s
        )
        return whole_s * (0.5 + 0.5 * self._chance.random())

    def _nobody(self, there: Sequence[Upstream], rest_s: float) -> SightlineError:
        if there:
            retry_after_s = max(1, math.ceil(rest_s))
            return BusyError(
                f"The model's server is busy. Try again in {retry_after_s} s.", retry_after_s
            )
        told = " ".join(f"{each.origin} {each.problem}" for each in self._upstreams[:_TOLD])
        return UpstreamDownError(f"No server of the model takes frames. {told}")
