"""What the server adds to the engine: HTTP, decoding the JPEG and server-sent events."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from tools.bench.as_page import fitted, to_jpeg
from tools.bench.pictures import noisy
from tools.bench.served import HOST, served
from tools.bench.setup import Measured, Setup
from vlm.engine.engine import Engine
from vlm.errors import SightlineError
from vlm.images.decode import decode_image
from vlm.types import Request, Result, Stats

_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True)
class Heard:
    """One caption as its reader met it, and the engine's own `stats` of it.

    `first_word_s` and `all_s` run from the question.
    """

    first_word_s: float
    all_s: float
    stats: Stats

    @property
    def first_word_late_s(self) -> float:
        """How long after the engine's first token its first word came."""
        return self.first_word_s - self.stats.ttft_s

    @property
    def token_s(self) -> float | None:
        """The time of each token after the first; None of fewer than two."""
        further = self.stats.tokens - 1
        return (self.all_s - self.first_word_s) / further if further > 0 else None


def measure_server(setup: Setup, engine: Engine, measured: Measured) -> None:
    """How much later words come from a server, whose captions and the engine's alternate.

    Before the first word the server only waits, so that is told within one caption, undisturbed by
    how long its vision pass took. Later it competes with the engine, so a token's time is held
    against that of an engine alone.
    """
    options = setup.options
    frame = fitted(setup.image, engine.info.frame_size_px)
    setup.say("Starting the server.")
    with served(setup) as server:
        for number in range(options.repeats + 1):
            setup.say(
                f"Round {number} of {options.repeats} over HTTP." if number else "Warming up."
            )
            jpeg = to_jpeg(noisy(frame, number))
            camera = f"server-{number}"
            theirs = _hear_server(server.port, jpeg, options.prompt, options.tokens, camera)
            image = decode_image(jpeg)
            # As long as theirs, which may end by itself.
            limit = max(1, theirs.stats.tokens)
            ours = _hear_engine(engine, Request.about(image, options.prompt, limit, camera=camera))
            if number:
                late_s = theirs.first_word_late_s - ours.first_word_late_s
                measured.add("http_ttft_ms", 1000 * late_s)
                if theirs.token_s is not None and ours.token_s is not None:
                    measured.add("http_token_ms", 1000 * (theirs.token_s - ours.token_s))


def _hear_engine(engine: Engine, request: Request) -> Heard:
    """One caption by `engine` in this process."""
    started = time.perf_counter()
    first_word_s = None
    for item in engine.stream(request):
        now_s = time.perf_counter() - started
        first_word_s = now_s if first_word_s is None else first_word_s
        if isinstance(item, Result):
            return Heard(first_word_s, now_s, item.stats)
    raise SightlineError("The engine ended a caption without a result.")


def _hear_server(port: int, jpeg: bytes, prompt: str, tokens: int, camera: str) -> Heard:
    """One caption by the server on `port`, on a connection of its own."""
    fields = urlencode({"prompt": prompt, "max_tokens": tokens, "camera": camera})
    connection = http.client.HTTPConnection(HOST, port, timeout=_TIMEOUT_S)
    try:
        started = time.perf_counter()
        connection.request("POST", f"/api/captions?{fields}", jpeg, {"Content-Type": "image/jpeg"})
        response = connection.getresponse()
        first_word_s = None
        event = ""
        for line in response:
            now_s = time.perf_counter() - started
            if line.startswith(b"event: "):
                event = line.decode().removeprefix("event: ").strip()
                first_word_s = now_s if first_word_s is None else first_word_s
            elif line.startswith(b"data: ") and event == "done" and first_word_s is not None:
                done = json.loads(line.removeprefix(b"data: "))
                return Heard(first_word_s, now_s, Stats(**done["stats"]))
            elif line.startswith(b"data: ") and event == "error":
                raise SightlineError(json.loads(line.removeprefix(b"data: "))["error"]["message"])
    finally:
        connection.close()
    raise SightlineError(f"The server answered with status {response.status} and no caption.")
