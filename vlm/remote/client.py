"""HTTP to the servers: the list of their models, and a chat completion as a stream of events."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import anyio
import httpx2

from vlm import __version__
from vlm.network.certificates import no_certificates, trusted_certificates
from vlm.remote.answer import UpstreamAnswer
from vlm.remote.failures import UpstreamFailure, failure_of_error, failure_of_status
from vlm.remote.upstream import Upstream, UpstreamLimits
from vlm.remote.wire import json_bytes
from vlm.types import TokenChunk

_MAX_EVENT_BYTES: Final = 2**20
_MAX_LIST_BYTES: Final = 2**20
_MAX_ERROR_BYTES: Final = 64 * 2**10
_MAX_NAME_CHARS: Final = 256
# Shorter than the five seconds after which common servers close an idle connection.
_KEEP_ALIVE_S: Final = 3.0
# White space, and the mark that some write before UTF-8.
_BLANK: Final = b" \t\r\n\xef\xbb\xbf"
_START_BYTES: Final = len(b"event:")
_EVENTS: Final = re.compile(rb":|data:?|event:|id:|retry:")
# Some servers reject these fields; without them the answer is the same, only its usage may be lost.
_OPTIONAL_FIELDS: Final = ("stream_options", "user")


class Client:
    """An HTTP client for one event loop.

    It follows no redirects, keeps no cookies and ignores the environment's proxies: frames go only
    to the addresses in the settings.
    """

    def __init__(self, limits: UpstreamLimits, key: str | None, is_tls: bool) -> None:
        """`key` is sent in the Authorization header only; `is_tls` if a server has an https URL.

        Raise CertificateFileError if a variable names certificates that cannot be read.
        """
        self._limits = limits
        self._key = key
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx2.AsyncClient(
            # With an explicit transport the environment's proxies are ignored.
            transport=httpx2.AsyncHTTPTransport(
                verify=trusted_certificates() if is_tls else no_certificates(),
                limits=httpx2.Limits(max_connections=None, keepalive_expiry=_KEEP_ALIVE_S),
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
                    _check_plain(response)
                    return _model_names(await _read(response, _MAX_LIST_BYTES))
            except httpx2.HTTPError as error:
                raise failure_of_error(error, has_begun=False) from error
        raise UpstreamFailure("slow", f"does not answer within {self._limits.check_s:g} s.")

    async def complete(
        self,
        upstream: Upstream,
        body: dict[str, Any],
        answer: UpstreamAnswer,
        on_chunk: Callable[[TokenChunk], object],
    ) -> None:
        """Send `body`, add each event to `answer` and call `on_chunk` with its text.

        Return when the server ends the stream, even if the answer is not complete, or when the
        answer has a loop. Raise UpstreamFailure, and what `on_chunk` raises. A loop, or cancelling
        the task, closes the connection at once, by which the server learns that it can stop.
        """
        fields = {
            "model": upstream.model,
            "stream_options": {"include_usage": True},
            **body,
        }
        while True:
            sent = {name: fields[name] for name in fields if name not in upstream.rejected_fields}
            try:
                return await self._read_events(upstream, json_bytes(sent), answer, on_chunk)
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
        self,
        upstream: Upstream,
        content: bytes,
        answer: UpstreamAnswer,
        on_chunk: Callable[[TokenChunk], object],
    ) -> None:
        now = anyio.current_time
        first_text, end = now() + self._limits.first_text_s, now() + self._limits.answer_s
        with anyio.CancelScope(deadline=first_text) as scope:
            try:
                async with self._http.stream(
                    "POST",
                    f"{upstream.base_url}/chat/completions",
                    content=content,
                    headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
                ) as response:
                    if response.status_code != 200:
                        raise await self._refusal(response)
                    _check_plain(response)
                    # Events are UTF-8, whatever the header says: some codecs are slow on purpose.
                    response.encoding = "utf-8"
                    assert isinstance(response.stream, httpx2.AsyncByteStream), "by AsyncClient"
                    response.stream = body = _Body(response.stream, answer)
                    start = await body.start()
                    if start.startswith(b"{"):
                        chunk = answer.add_whole((await response.aread()).decode(errors="replace"))
                        if chunk is not None:
                            on_chunk(chunk)
                        return
                    # By their form, because some servers give events another type, or none.
                    if _EVENTS.match(start):
                        response.headers["content-type"] = "text/event-stream"
                    async for event in httpx2.EventSource(response, _MAX_EVENT_BYTES):
                        if not event.data:
                            continue
                        before, steps = answer.stage, answer.steps
                        chunk = answer.add(event.data)
                        if chunk is not None:
                            on_chunk(chunk)
                        if answer.has_loop:
                            return
                        if answer.is_complete:
                            # The usage may follow, and only a connection that was read to its end
                            # can be used again.
                            if answer.is_done:
                                scope.deadline = now() + self._limits.done_s
                            elif before != "complete":
                                scope.deadline = now() + self._limits.ending_s
                        elif answer.steps > steps and answer.stage != "waiting":
                            scope.deadline = min(now() + self._limits.silence_s, end)
                            if answer.stage == "thinking":
                                scope.deadline = max(scope.deadline, first_text)
            except httpx2.HTTPError as error:
                if not answer.is_complete:
                    raise failure_of_error(error, answer.stage != "waiting") from error
        if scope.cancelled_caught and not answer.is_complete:
            what = "go on with" if answer.stage == "answering" else "begin"
            raise UpstreamFailure("slow", f"took too long to {what} its answer.")

    async def _refusal(self, response: httpx2.Response) -> UpstreamFailure:
        body = b"" if _is_compressed(response) else await _read(response, _MAX_ERROR_BYTES)
        return failure_of_status(response.status_code, response.headers, body, self._key)


class _Body(httpx2.AsyncByteStream):
    """The bytes of an answer, counted: its comments and empty events too."""

    def __init__(self, stream: httpx2.AsyncByteStream, answer: UpstreamAnswer) -> None:
        self._stream = stream
        self._parts = aiter(stream)
        self._read = b""
        self._answer = answer

    async def start(self) -> bytes:
        """Drop white space; return the bytes behind it, enough to tell events from JSON."""
        while len(self._read) < _START_BYTES:
            part = await anext(self._parts, None)
            if part is None:
                break
            self._answer.count(len(part))
            self._read = (self._read + part).lstrip(_BLANK)
        return self._read

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._read:
            yield self._read
            self._read = b""
        async for part in self._parts:
            self._answer.count(len(part))
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def _is_compressed(response: httpx2.Response) -> bool:
    return response.headers.get("content-encoding", "identity").strip().lower() != "identity"


def _check_plain(response: httpx2.Response) -> None:
    """Raise UpstreamFailure if the body is compressed, because few bytes could become many."""
    if _is_compressed(response):
        raise UpstreamFailure("broken", "compresses its answers, which was not asked for.")


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
        listed = json.loads(body)["data"]
        ready = [each for each in listed if not _is_loading(each)]
        names = [each["id"] for each in ready]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UpstreamFailure(
            "broken",
            "answers, but does not list models as an OpenAI-compatible server does. Check "
            "--base-url, which usually ends in /v1.",
        ) from None
    valid = [name for name in names if isinstance(name, str) and _is_name(name)]
    if not valid:
        is_loading = len(ready) < len(listed)
        raise UpstreamFailure(
            "busy", f"{'still loads its model' if is_loading else 'lists no model yet'}."
        )
    return valid


def _is_loading(model: dict[str, Any]) -> bool:
    """Return whether the server says so, as Sightline and llama.cpp's router do."""
    status = model.get("status")
    return isinstance(status, dict) and status.get("value") == "loading"


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _MAX_NAME_CHARS and name.isprintable()
