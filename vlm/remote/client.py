"""The HTTP side: which models a server lists, and a chat completion as its events come in."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import anyio
import httpx2

from vlm import __version__
from vlm.remote.answer import Stage
from vlm.remote.failures import Failure, failure_of_error, failure_of_status
from vlm.remote.limits import Limits
from vlm.remote.upstream import Upstream
from vlm.remote.wire import as_bytes

_MAX_EVENT_BYTES: Final = 2**20
_MAX_LIST_BYTES: Final = 2**20
_MAX_ERROR_BYTES: Final = 64 * 2**10
_MAX_NAME_CHARS: Final = 256
# Shorter than the five seconds after which common servers close an idle connection.
_KEEP_CONNECTION_S: Final = 3.0
# Not all servers know these; without them an answer is the same, but for what is told of its cost.
_SPARE_FIELDS: Final = ("stream_options", "user")


class Client:
    """Talks to the servers; for the thread of one event loop.

    Redirects, cookies and the proxies of the environment are not followed: frames go to the
    addresses that a person has named, and nowhere else.
    """

    def __init__(self, limits: Limits, key: str | None) -> None:
        """`key` goes into the Authorization header and nowhere else."""
        self._limits = limits
        self._key = key
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.AsyncClient(
            # A transport of our own is what keeps the environment's proxies out.
            transport=httpx2.AsyncHTTPTransport(
                limits=httpx2.Limits(max_connections=None, keepalive_expiry=_KEEP_CONNECTION_S)
            ),
            headers={
                "User-Agent": f"sightline/{__version__}",
                "Accept-Encoding": "identity",
                **authorization,
            },
            timeout=httpx2.Timeout(
                connect=limits.connect_s, write=limits.silence_s, read=None, pool=None
            ),
        )
        self._http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))

    async def close(self) -> None:
        """Close what is still connected."""
        await self._http.aclose()

    async def list_models(self, upstream: Upstream) -> list[str]:
        """The names of the models that it serves, at least one; raises Failure."""
        with anyio.move_on_after(self._limits.check_s):
            try:
                async with self._http.stream("GET", f"{upstream.base_url}/models") as response:
                    if response.status_code != 200:
                        raise await self._refusal(response)
                    return _model_names(await _read(response, _MAX_LIST_BYTES))
            except httpx2.HTTPError as error:
                raise failure_of_error(error, has_begun=False) from error
        raise Failure("slow", f"does not answer within {self._limits.check_s:g} s.")

    async def complete(
        self, upstream: Upstream, body: dict[str, Any], take: Callable[[str], Stage]
    ) -> None:
        """Have `body` completed: `take` gets each event's data and tells how far the answer is.

        Returns when the server ends the stream, be the answer whole or not. Raises Failure, and
        what `take` raises. Where it is cancelled the connection is closed at once, which is how a
        server learns to stop.
        """
        whole = {
            "model": upstream.model,
            "stream_options": {"include_usage": True},
            **body,
        }
        while True:
            asked = {name: whole[name] for name in whole if name not in upstream.untaken_fields}
            try:
                return await self._read_events(upstream, as_bytes(asked), take)
            except Failure as failure:
                blamed = {
                    name
                    for name in _SPARE_FIELDS
                    if name in asked and name.encode() in failure.said
                }
                if not blamed:
                    raise
                upstream.untaken_fields |= blamed

    async def _read_events(
        self, upstream: Upstream, content: bytes, take: Callable[[str], Stage]
    ) -> None:
        stage: Stage = "waiting"
        now = anyio.current_time
        end = now() + self._limits.answer_s
        with anyio.CancelScope(deadline=now() + self._limits.first_text_s) as patience:
            try:
                async with self._http.stream(
                    "POST",
                    f"{upstream.base_url}/chat/completions",
                    content=content,
                    headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
                ) as response:
                    if response.status_code != 200:
                        raise await self._refusal(response)
                    async for event in httpx2.EventSource(response, _MAX_EVENT_BYTES):
                        if not event.data:
                            continue
                        before, stage = stage, take(event.data)
                        if stage == "answering":
                            patience.deadline = min(now() + self._limits.silence_s, end)
                        elif stage != before:
                            # What it cost may follow, and a connection that is read to its end can
                            # be used again.
                            patience.deadline = now() + self._limits.ending_s
            except httpx2.HTTPError as error:
                if stage != "over":
                    raise failure_of_error(error, stage == "answering") from error
        if patience.cancelled_caught and stage != "over":
            where = "in the middle of an answer" if stage == "answering" else "before its answer"
            raise Failure("slow", f"fell silent {where}.")

    async def _refusal(self, response: httpx2.Response) -> Failure:
        body = await _read(response, _MAX_ERROR_BYTES)
        return failure_of_status(response.status_code, response.headers, body, self._key)


async def _read(response: httpx2.Response, most_bytes: int) -> bytes:
    """The beginning of the body; what is longer is cut off."""
    body = b""
    async for part in response.aiter_bytes():
        body += part
        if len(body) >= most_bytes:
            break
    return body[:most_bytes]


def _model_names(body: bytes) -> list[str]:
    try:
        said = json.loads(body)
        names = [each["id"] for each in said["data"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Failure(
            "broken",
            "answers, but does not list models as an OpenAI-compatible server does. Check "
            "--base-url, which mostly ends in /v1.",
        ) from None
    known = [name for name in names if isinstance(name, str) and _is_name(name)]
    if not known:
        raise Failure("busy", "serves no model yet.")
    return known


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _MAX_NAME_CHARS and name.isprintable()
