"""HTTP to the servers: the list of their models, and a chat completion as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import anyio
import httpx2

from vlm import __version__
from vlm.remote.answer import Stage
from vlm.remote.failures import UpstreamFailure, failure_of_error, failure_of_status
from vlm.remote.upstream import Upstream, UpstreamLimits
from vlm.remote.wire import json_bytes

_MAX_EVENT_BYTES: Final = 2**20
_MAX_LIST_BYTES: Final = 2**20
_MAX_ERROR_BYTES: Final = 64 * 2**10
_MAX_NAME_CHARS: Final = 256
# Shorter than the five seconds after which common servers close an idle connection.
_KEEP_ALIVE_S: Final = 3.0
# Some servers reject these fields; without them the answer is the same, only its usage may be lost.
_OPTIONAL_FIELDS: Final = ("stream_options", "user")


class Client:
    """An HTTP client for one event loop.

    It follows no redirects, keeps no cookies and ignores the environment's proxies: frames go only
    to the addresses in the settings.
    """

    def __init__(self, limits: UpstreamLimits, key: str | None) -> None:
        """`key` is sent in the Authorization header only."""
        self._limits = limits
        self._key = key
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.AsyncClient(
            # With an explicit transport the environment's proxies are ignored.
            transport=httpx2.AsyncHTTPTransport(
                limits=httpx2.Limits(max_connections=None, keepalive_expiry=_KEEP_ALIVE_S)
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
        """Close all connections."""
        await self._http.aclose()

    async def list_models(self, upstream: Upstream) -> list[str]:
        """Return the names of the models that it serves, at least one; raise UpstreamFailure."""
        with anyio.move_on_after(self._limits.check_s):
            try:
                async with self._http.stream("GET", f"{upstream.base_url}/models") as response:
                    if response.status_code != 200:
                        raise await self._refusal(response)
                    return _model_names(await _read(response, _MAX_LIST_BYTES))
            except httpx2.HTTPError as error:
                raise failure_of_error(error, has_begun=False) from error
        raise UpstreamFailure("slow", f"does not answer within {self._limits.check_s:g} s.")

    async def complete(
        self, upstream: Upstream, body: dict[str, Any], on_data: Callable[[str], Stage]
    ) -> None:
        """Send `body` and call `on_data` with the data of each event; it returns the new stage.

        Return when the server ends the stream, even if the answer is not complete. Raise
        UpstreamFailure, and what `on_data` raises. Cancelling the task closes the connection at
        once, by which the server learns that it can stop.
        """
        fields = {
            "model": upstream.model,
            "stream_options": {"include_usage": True},
            **body,
        }
        while True:
            sent = {name: fields[name] for name in fields if name not in upstream.rejected_fields}
            try:
                return await self._read_events(upstream, json_bytes(sent), on_data)
            except UpstreamFailure as failure:
                rejected = {
                    name
                    for name in _OPTIONAL_FIELDS
                    if name in sent and name.encode() in failure.body
                }
                if not rejected:
                    raise
                upstream.rejected_fields |= rejected

    async def _read_events(
        self, upstream: Upstream, content: bytes, on_data: Callable[[str], Stage]
    ) -> None:
        stage: Stage = "waiting"
        now = anyio.current_time
        end = now() + self._limits.answer_s
        with anyio.CancelScope(deadline=now() + self._limits.first_text_s) as scope:
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
                        before, stage = stage, on_data(event.data)
                        if stage == "answering":
                            scope.deadline = min(now() + self._limits.silence_s, end)
                        elif stage != before:
                            # The usage may follow, and only a connection that was read to its end
                            # can be used again.
                            scope.deadline = now() + self._limits.ending_s
            except httpx2.HTTPError as error:
                if stage != "complete":
                    raise failure_of_error(error, stage == "answering") from error
        if scope.cancelled_caught and stage != "complete":
            what = (
                "took too long to go on with" if stage == "answering" else "took too long to begin"
            )
            raise UpstreamFailure("slow", f"{what} its answer.")

    async def _refusal(self, response: httpx2.Response) -> UpstreamFailure:
        body = await _read(response, _MAX_ERROR_BYTES)
        return failure_of_status(response.status_code, response.headers, body, self._key)


async def _read(response: httpx2.Response, max_bytes: int) -> bytes:
    """Return the first `max_bytes` of the body."""
    body = b""
    async for part in response.aiter_bytes():
        body += part
        if len(body) >= max_bytes:
            break
    return body[:max_bytes]


def _model_names(body: bytes) -> list[str]:
    try:
        names = [each["id"] for each in json.loads(body)["data"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UpstreamFailure(
            "broken",
            "answers, but does not list models as an OpenAI-compatible server does. Check "
            "--base-url, which usually ends in /v1.",
        ) from None
    valid = [name for name in names if isinstance(name, str) and _is_name(name)]
    if not valid:
        raise UpstreamFailure("busy", "lists no model yet.")
    return valid


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _MAX_NAME_CHARS and name.isprintable()
