"""One virtual camera's connection to a server: a frame out, what becomes of it back in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlencode

Ending = Literal["captioned", "refused", "superseded", "failed", "unanswered"]

# Longer than any queue; whoever gets nothing until then is taken to be left hanging.
ANSWER_LIMIT_S: Final = 120.0
_DEFAULT_RETRY_AFTER_S: Final = 1.0


@dataclass(frozen=True)
class Answer:
    """What became of one frame; times run from its sending, None for what did not come.

    `problem` says why there was no caption; `retry_after_s` is what a busy server asked for.
    """

    ending: Ending
    first_word_s: float | None = None
    all_s: float | None = None
    problem: str | None = None
    retry_after_s: float = 0.0


class CameraClient:
    """Asks for captions on one connection, which it opens where there is none. Close it."""

    def __init__(self, host: str, port: int, camera: str, prompt: str, tokens: int) -> None:
        self._host = host
        self._port = port
        self._query = urlencode(
            {"camera": camera, "kind": "live", "prompt": prompt, "max_tokens": tokens}
        )
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, jpeg: bytes) -> Answer:
        """The caption of `jpeg`, however it ends. Raises nothing but CancelledError."""
        try:
            return await asyncio.wait_for(self._ask(jpeg), ANSWER_LIMIT_S)
        except asyncio.TimeoutError:
            self.close()
            return Answer("unanswered", problem=f"nothing within {ANSWER_LIMIT_S:.0f} s")
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            return Answer("unanswered", problem=f"the connection broke: {error!r}")

    def close(self) -> None:
        """Hang up; the next question opens another connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    async def _ask(self, jpeg: bytes) -> Answer:
        started_s = time.perf_counter()
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        head = (
            f"POST /api/captions?{self._query} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        )
        self._writer.write(head.encode() + jpeg)
        await self._writer.drain()
        status, headers = await _read_head(self._reader)
        body = _read_body(self._reader, headers)
        if status != 200:
            text = b"".join([piece async for piece in body])
            answer = _refusal(status, headers, text)
        else:
            answer = await _read_events(body, started_s)
        if headers.get("connection") == "close":
            self.close()
        return answer


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    _, status, *_ = first.split(" ")
    return int(status), headers


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """The body's bytes as they come, by HTTP/1.1's rules for where it ends."""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        while piece := await reader.read(65536):
            yield piece


async def _read_events(body: AsyncIterator[bytes], started_s: float) -> Answer:
    first_word_s = None
    answer = None
    rest = b""
    async for piece in body:
        *blocks, rest = (rest + piece).split(b"\n\n")
        for block in blocks:
            now_s = time.perf_counter() - started_s
            name, _, data = block.partition(b"\n")
            if name == b"event: token" and first_word_s is None:
                first_word_s = now_s
            elif name == b"event: done":
                answer = Answer("captioned", first_word_s or now_s, now_s)
            elif name == b"event: error":
                code, message = _code_and_message(data.removeprefix(b"data: "))
                ending: Ending = "superseded" if code == "superseded" else "failed"
                answer = Answer(ending, first_word_s, now_s, problem=f"{code}: {message}")
    return answer or Answer("unanswered", first_word_s, problem="the stream ended midway")


def _refusal(status: int, headers: dict[str, str], text: bytes) -> Answer:
    code, message = _code_and_message(text)
    retry_after_s = _DEFAULT_RETRY_AFTER_S
    with contextlib.suppress(ValueError):
        retry_after_s = float(headers.get("retry-after", ""))
    ending: Ending = "refused" if status == 503 else "failed"
    return Answer(ending, problem=f"{status} {code}: {message}", retry_after_s=retry_after_s)


def _code_and_message(text: bytes) -> tuple[str, str]:
    try:
        error: Any = json.loads(text)["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return "", "no words of Sightline's"
