"""HTTP to the servers: the list of their models, and a chat completion as a stream of events."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import anyio
import httpx2

from vlm import __version__
from vlm.network.certificates import no_certificates, trusted_certificates
from vlm.remote.answer import UpstreamAnswer
from vlm.remote.failures import UpstreamFailure, failure_of_error, failure_of_status
from vlm.remote.models_list import ListedModel, read_list
from vlm.remote.upstream import Upstream, UpstreamLimits
from vlm.remote.wire import json_bytes
from vlm.results import TokenChunk

_MAX_EVENT_BYTES: Final = 2**20
_MAX_LIST_BYTES: Final = 2**20
# Statuses of servers without a list of models, and of those that cannot show it, or not to a key.
_NO_LIST: Final = (404, 405, 410, 501)
_LIST_REFUSED: Final = (400, 403, 500)
_MAX_NAME_CHARS: Final = 256
_MAX_ERROR_BYTES: Final = 64 * 2**10
# Shorter than the five seconds after which common servers close an idle connection.
_KEEP_ALIVE_S: Final = 3.0
# White space, and the mark that some write before UTF-8.
_BLANK: Final = b" \t\r\n\xef\xbb\xbf"
_START_BYTES: Final = len(b"event:")
_EVENTS: Final = re.compile(rb":|data:?|event:|id:|retry:")


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

    async def list_models(self, upstream: Upstream) -> tuple[list[ListedModel], tuple[str, ...]]:
        """Return the models that it lists, at least one, and what tells its version.

        Raise UpstreamFailure.
        """
        with anyio.move_on_after(self._limits.check_s):
            try:
                async with self._http.stream("GET", f"{upstream.base_url}/models") as response:
                    status = response.status_code
                    if status in _NO_LIST:
                        words = (
                            f"does not list its models ({status}). Check --base-url, which usually "
                            "ends in /v1, or name the model with --remote-model."
                        )
                        raise UpstreamFailure("denied", words, has_no_list=True)
                    if status != 200:
                        failure = await self._refusal(response)
                        failure.has_no_list = status in _LIST_REFUSED
                        raise failure
                    _check_plain(response)
                    body = await _read(response, _MAX_LIST_BYTES)
                    return read_list(body, _MAX_NAME_CHARS), _version(response)
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
        answer was cut. Raise UpstreamFailure, and what `on_chunk` raises. A cut, or cancelling the
        task, closes the connection at once, by which the server learns that it can stop.
        """
        clock = _AnswerClock(self._limits, answer)
        with clock.scope:
            try:
                async with self._http.stream(
                    "POST",
                    f"{upstream.base_url}/chat/completions",
                    content=json_bytes(body),
                    headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
                ) as response:
                    if response.status_code != 200:
                        raise await self._refusal(response)
                    _check_plain(response)
                    # Events are UTF-8, whatever the header says: some codecs are slow on purpose.
                    response.encoding = "utf-8"
                    assert isinstance(response.stream, httpx2.AsyncByteStream), "by AsyncClient"
                    response.stream = bytes_in = _Body(response.stream, clock)
                    start = await bytes_in.start()
                    if start.startswith(b"{"):
                        _add_json(
                            (await response.aread()).decode(errors="replace"), answer, on_chunk
                        )
                        return
                    # By their form, because some servers give events another type, or none.
                    if _EVENTS.match(start):
                        response.headers["content-type"] = "text/event-stream"
                    async for event in httpx2.EventSource(response, _MAX_EVENT_BYTES):
                        for data in _data_of(event):
                            chunk = answer.add(data, event.event)
                            if chunk is not None:
                                on_chunk(chunk)
                            if answer.is_cut:
                                return
                            clock.note_event()
                    answer.end()
            except httpx2.HTTPError as error:
                if not answer.is_complete:
                    raise failure_of_error(error, answer.stage != "waiting") from error
        if clock.scope.cancelled_caught:
            if answer.may_be_over:
                answer.end()
            if not answer.is_complete:
                what = "go on with" if answer.stage == "answering" else "begin"
                raise UpstreamFailure("slow", f"took too long to {what} its answer.")

    async def _refusal(self, response: httpx2.Response) -> UpstreamFailure:
        body = b"" if _is_compressed(response) else await _read(response, _MAX_ERROR_BYTES)
        return failure_of_status(response.status_code, response.headers, body, self._key)


def _data_of(event: httpx2.ServerSentEvent) -> list[str]:
    """Return the data of `event`; of several events, if no empty lines are between them."""
    lines = [line.strip() for line in event.data.split("\n")]
    is_each_whole = all(
        (line.startswith("{") and line.endswith("}")) or line.startswith("[") for line in lines
    )
    return lines if is_each_whole else [event.data] if event.data else []


def _add_json(data: str, answer: UpstreamAnswer, on_chunk: Callable[[TokenChunk], object]) -> None:
    """Add an answer in JSON: one object, or an event on each line."""
    lines = [line for line in data.split("\n") if line.strip()]
    if not all(line.startswith("{") and line.rstrip().endswith("}") for line in lines[:2]):
        lines = lines[:1]
    if len(lines) < 2:
        chunk = answer.add_whole(data)
        if chunk is not None:
            on_chunk(chunk)
        return
    for line in lines:
        chunk = answer.add(line)
        if chunk is not None:
            on_chunk(chunk)
        if answer.is_cut:
            return
    answer.end()


class _AnswerClock:
    """The time limits of one answer: `scope` is cancelled when one has passed."""

    def __init__(self, limits: UpstreamLimits, answer: UpstreamAnswer) -> None:
        self._limits = limits
        self._answer = answer
        started = anyio.current_time()
        self._first_text = started + limits.first_text_s
        self._end = started + limits.answer_s
        self._steps = 0
        self._is_ending = False
        self.scope = anyio.CancelScope(deadline=min(self._first_text, self._end))

    def note_bytes(self, size: int) -> None:
        """Count bytes of the answer, whatever they hold: a sign of life."""
        self._answer.count(size)
        if not self._is_ending:
            deadline = anyio.current_time() + self._limits.silence_s
            if self._answer.stage != "answering":
                deadline = max(deadline, self._first_text)
            self.scope.deadline = min(deadline, self._end)

    def note_event(self) -> None:
        """Set the limit of what may follow an event that was added to the answer."""
        answer, limits = self._answer, self._limits
        if answer.is_done:
            self._is_ending = True
            self.scope.deadline = anyio.current_time() + limits.done_s
        elif not answer.may_be_over:
            if self._is_ending:
                self._is_ending = False
                self.note_bytes(0)
        elif not self._is_ending or answer.steps > self._steps:
            # The usage may follow, and only a connection that was read to its end can be used
            # again.
            self._is_ending = True
            self.scope.deadline = anyio.current_time() + limits.ending_s
        self._steps = answer.steps


class _Body(httpx2.AsyncByteStream):
    """The bytes of an answer, counted: its comments and empty events too."""

    def __init__(self, stream: httpx2.AsyncByteStream, clock: _AnswerClock) -> None:
        self._stream = stream
        self._parts = aiter(stream)
        self._read = b""
        self._clock = clock

    async def start(self) -> bytes:
        """Drop white space; return the bytes behind it, enough to tell events from JSON."""
        while len(self._read) < _START_BYTES:
            part = await anext(self._parts, None)
            if part is None:
                break
            self._clock.note_bytes(len(part))
            self._read = (self._read + part).lstrip(_BLANK)
        return self._read

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._read:
            yield self._read
            self._read = b""
        async for part in self._parts:
            self._clock.note_bytes(len(part))
            yield part
        # Some servers leave out the empty line behind their last event.
        yield b"\n\n"

    async def aclose(self) -> None:
        if isinstance(self._parts, AsyncGenerator):
            # Else the garbage collector ends it, perhaps after the loop.
            await self._parts.aclose()
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


def _version(response: httpx2.Response) -> tuple[str, ...]:
    """Return the headers that tell one version of a server from another."""
    names = sorted({*response.headers})
    return tuple(
        f"{name}: {response.headers[name]}"
        for name in names
        if name == "server" or name.endswith("version")
    )
