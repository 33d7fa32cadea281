"""Distribution of requests among servers: health checks, the choice of a server, retries."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio

from vlm.errors import BusyError, FormError, SightlineError, UpstreamDownError
from vlm.remote.asking import ask
from vlm.remote.client import Client
from vlm.remote.failures import UpstreamFailure
from vlm.remote.fields import ServerFields
from vlm.remote.forms import form_fields
from vlm.remote.models_list import ListedModel, choose
from vlm.remote.upstream import Upstream, UpstreamLimits
from vlm.remote.wire import request_body
from vlm.results import Result, StreamEvent, TokenChunk
from vlm.types import Form, Request

log = logging.getLogger("sightline")

# How many servers' problems one error message lists.
_MAX_LISTED: Final = 3


class Balancer:
    """Sends each request to the healthy server with the fewest in flight; for one event loop."""

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        client: Client,
        limits: UpstreamLimits,
        jitter: random.Random,
        model: str | None,
        key: str | None,
        on_health: Callable[[], None],
    ) -> None:
        """`model` None means the one for pictures that each server lists.

        `key` is removed from the servers' error messages. `on_health` is called when a server
        becomes healthy or its problem changes.
        """
        self._upstreams = upstreams
        self._client = client
        self._limits = limits
        self._jitter = jitter
        self._model = model
        self._key = key
        self._on_health = on_health
        self._became_unhealthy = {id(upstream): asyncio.Event() for upstream in upstreams}
        # Set and replaced when a server becomes healthy.
        self._became_healthy = asyncio.Event()

    # -- health --

    async def watch(self, upstream: Upstream) -> None:
        """Check `upstream` at intervals until the task is cancelled."""
        became_unhealthy = self._became_unhealthy[id(upstream)]
        while True:
            await self._check(upstream)
            if upstream.healthy:
                with anyio.move_on_after(self._limits.check_every_s):
                    await became_unhealthy.wait()
            if not upstream.healthy:
                await asyncio.sleep(self._pause_s(upstream))
            became_unhealthy.clear()

    async def _check(self, upstream: Upstream) -> None:
        try:
            model, version = await self._listed(upstream)
        except UpstreamFailure as failure:
            self._miss_check(upstream, failure.words)
        except Exception:
            log.exception("A check of %s failed", upstream.origin)
            self._miss_check(upstream, "could not be checked. The log has the reason.")
        else:
            self._take_model(upstream, model, version)
            upstream.missed_checks = 0
            # Not if requests have failed since the check began: it says nothing of them.
            if not upstream.healthy and not self._became_unhealthy[id(upstream)].is_set():
                upstream.healthy = True
                upstream.is_unproven = upstream.faults_in_a_row > 0
                self._became_healthy.set()
                self._became_healthy = asyncio.Event()
                if not upstream.is_on_trial:
                    upstream.problem = None
                self._on_health()

    async def _listed(self, upstream: Upstream) -> tuple[ListedModel, tuple[str, ...]]:
        """Return the model to use there, and what tells the server's version."""
        try:
            models, version = await self._client.list_models(upstream)
        except UpstreamFailure as failure:
            if self._model is None or not failure.has_no_list:
                raise
            return ListedModel(self._model, sees=None), ()
        if self._model is not None:
            named = next((each for each in models if each.name == self._model), None)
            # An alias, perhaps.
            return named or ListedModel(self._model, sees=None, owner=models[0].owner), version
        chosen = choose(models, upstream.model)
        if len(models) > 1 and not chosen.sees:
            names = ", ".join(each.name for each in models[:_MAX_LISTED])
            more = " ..." if len(models) > _MAX_LISTED else ""
            upstream.warn(
                "model",
                f"lists {len(models)} models ({names}{more}) and does not say which sees pictures. "
                f"{chosen.name} is used; --remote-model names another.",
            )
        return chosen, version

    def _take_model(self, upstream: Upstream, model: ListedModel, version: tuple[str, ...]) -> None:
        before, upstream.identity = upstream.identity, (*model.identity, *version)
        if before == upstream.identity:
            return
        upstream.fields = ServerFields()
        if model.thinks:
            upstream.fields.ask_for_no_thoughts()
        if before is not None:
            upstream.warned.clear()
        upstream.owner = model.owner
        has_changed = upstream.model != model.name
        upstream.model = model.name
        if before is not None and has_changed:
            self._on_health()

    def _miss_check(self, upstream: Upstream, words: str) -> None:
        upstream.missed_checks += 1
        self._set_problem(upstream, words)
        self._take_out(upstream)

    def _take_out(self, upstream: Upstream) -> None:
        was_healthy, upstream.healthy = upstream.healthy, False
        self._became_unhealthy[id(upstream)].set()
        if was_healthy:
            self._on_health()

    def _set_problem(self, upstream: Upstream, words: str | None) -> None:
        if words != upstream.problem:
            upstream.problem = words
            self._on_health()

    def _pause_s(self, upstream: Upstream) -> float:
        failures = max(1, upstream.missed_checks, upstream.faults_in_a_row)
        pause_s = self._limits.pause_s * 2.0 ** min(failures - 1, 30)
        return min(pause_s, self._limits.longest_pause_s) * (0.5 + 0.5 * self._jitter.random())

    # -- requests --

    async def run(self, request: Request, on_event: Callable[[StreamEvent], object]) -> None:
        """Call `on_event` with TokenChunks as they arrive, then with one Result.

        A request that no server has begun to answer is sent again, to another server if there is
        one. Raise BadRequestError, BusyError or an UpstreamError.
        """
        started_s = time.perf_counter()
        # In a thread, because compressing images takes milliseconds that would delay other answers.
        body = await asyncio.to_thread(request_body, request)
        tried: list[Upstream] = []
        while True:
            upstream = await self._choose(tried, request)
            tried.append(upstream)
            try:
                return await self._try(upstream, request, body, on_event, started_s)
            except UpstreamFailure as failure:
                self._record_failure(upstream, failure)
                if not failure.may_retry or len(tried) == self._limits.tries:
                    raise failure.error(upstream.origin) from None
                upstream.retries += 1

    async def _try(
        self,
        upstream: Upstream,
        request: Request,
        body: dict[str, Any],
        on_event: Callable[[StreamEvent], object],
        started_s: float,
    ) -> None:
        ttft_s = 0.0

        def on_chunk(chunk: TokenChunk) -> None:
            nonlocal ttft_s
            ttft_s = ttft_s or time.perf_counter() - started_s
            on_event(chunk)

        upstream.requests += 1
        upstream.outstanding += 1
        upstream.last_sent_s = time.monotonic()
        try:
            answer = await ask(self._client, upstream, request, body, self._key, on_chunk)
        finally:
            upstream.outstanding -= 1
        upstream.faults_in_a_row = 0
        upstream.is_unproven = False
        if upstream.is_on_trial:
            upstream.is_on_trial = False
            self._on_health()
        self._set_problem(upstream, None)
        stats = answer.stats(ttft_s, time.perf_counter() - started_s)
        on_event(Result(answer.text, answer.finish_reason(), stats))

    async def _choose(self, tried: Sequence[Upstream], request: Request) -> Upstream:
        """Return the server for `request`, preferably one that was not `tried`.

        Wait if none accepts requests; raise BusyError or UpstreamDownError if that takes too long,
        and FormError if none takes the form that the answer is to have.
        """
        form = request.answer_task.form
        able = [each for each in self._upstreams if _takes(each, form)]
        if form is not None and not able:
            what = "regular expression" if form.kind == "regex" else "choice"
            raise FormError(
                f"The server of this model takes JSON schemas only, no {what}, as far as it says."
            )
        deadline_s = time.monotonic() + self._limits.wait_s
        while True:
            healthy = [each for each in able if each.healthy]
            ready = [each for each in healthy if each.rest_s == 0]
            if ready:
                # Among equals, the one whose last request is the oldest.
                return min(ready, key=lambda it: (it in tried, it.outstanding, it.last_sent_s))
            left_s = deadline_s - time.monotonic()
            rest_s = min((each.rest_s for each in healthy), default=math.inf)
            if left_s <= 0 or math.inf > rest_s > left_s:
                raise self._none_ready(healthy, rest_s)
            with anyio.move_on_after(min(rest_s, left_s)):
                await self._became_healthy.wait()

    def _record_failure(self, upstream: Upstream, failure: UpstreamFailure) -> None:
        if failure.kind == "refused":
            # The request was wrong, not the server.
            return
        upstream.failures += 1
        upstream.faults_in_a_row += 1
        self._set_problem(upstream, failure.words)
        if failure.kind == "busy":
            rest_s = failure.retry_after_s
            rest_s = self._pause_s(upstream) if rest_s is None else rest_s
            upstream.rest(min(rest_s, self._limits.longest_rest_s))
        elif failure.kind != "broken" or upstream.faults_in_a_row >= self._limits.faults_in_a_row:
            # A connection that broke may be one restart; a check says when it is over.
            upstream.is_on_trial = failure.kind != "down" or upstream.is_unproven
            self._take_out(upstream)

    def _none_ready(self, healthy: Sequence[Upstream], rest_s: float) -> SightlineError:
        if healthy:
            retry_after_s = max(1, math.ceil(rest_s))
            return BusyError(
                f"The model's server is busy. Try again in {retry_after_s} s.", retry_after_s
            )
        problems = " ".join(f"{it.origin} {it.problem}" for it in self._upstreams[:_MAX_LISTED])
        return UpstreamDownError(f"No server of the model is available. {problems}")


def _takes(upstream: Upstream, form: Form | None) -> bool:
    return form is None or form_fields(form, upstream.owner) is not None
