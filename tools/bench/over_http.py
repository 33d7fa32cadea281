"""A real server on this machine, and what it adds to the engine: HTTP, JPEG, server-sent events."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from tools.bench.frames import fitted, noisy, to_jpeg
from tools.bench.measurements import Measured, TimedCaption, time_caption
from tools.bench.setup import ROOT, Setup
from vlm.engine.engine import Engine
from vlm.errors import SightlineError
from vlm.images.decode import decode_image
from vlm.results import Stats
from vlm.types import Request

HOST: Final = "127.0.0.1"

_CAPTION_TIMEOUT_S: Final = 600.0
_STATUS_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.05


@dataclass(frozen=True)
class Served:
    """A server that listens on HOST."""

    port: int
    pid: int


def served(setup: Setup) -> AbstractContextManager[Served]:
    """Run a server with the model of `setup` for the block, as `running_server` does."""
    return running_server(setup.settings_flags, setup.child_environment())


@contextmanager
def running_server(flags: Sequence[str], environment: Mapping[str, str]) -> Iterator[Served]:
    """Start a server with `flags` of `app.py`, wait until it is ready, and end it at exit.

    Raises SightlineError with the server's own message if it does not become ready.
    """
    command = [sys.executable, str(ROOT / "app.py"), "--host", HOST, "--port", "0"]
    with subprocess.Popen(
        [*command, "--log-requests", "off", *flags],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://[^ ]*:(\d+)", process.stdout.readline())
            if found is None:
                raise SightlineError("The server did not start.")
            port = int(found[1])
            wait_until_ready(HOST, port)
            yield Served(port, process.pid)
        finally:
            process.terminate()
            # Read to the end: the server would report a broken pipe.
            process.communicate()


def wait_until_ready(host: str, port: int) -> dict[str, Any]:
    """Return the server's status once its model is loaded; raise SightlineError if that fails."""
    while True:
        connection = http.client.HTTPConnection(host, port, timeout=_STATUS_TIMEOUT_S)
        try:
            connection.request("GET", "/api/status")
            status: dict[str, Any] = json.loads(connection.getresponse().read())
            state = status["state"]
        except (OSError, http.client.HTTPException) as error:
            raise SightlineError(f"The server does not answer: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise SightlineError("The server at this address is not Sightline.") from error
        finally:
            connection.close()
        if state == "failed":
            raise SightlineError(status["error"]["message"])
        if state == "ready":
            return status
        time.sleep(_POLL_S)


def measure_server(setup: Setup, engine: Engine, measured: Measured) -> None:
    """Measure how much later words arrive from a server than from the engine, alternating both.

    The first word's delay is the difference between the reader's clock and the engine's within one
    caption, so the time of the vision pass cancels out. Later the server competes with the engine
    for the processor, so the time of a token is compared with that of the engine alone.
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
            theirs = _caption_over_http(server.port, jpeg, options.prompt, options.tokens, camera)
            image = decode_image(jpeg)
            # As long as the server's caption, which a stop token may end.
            limit = max(1, theirs.stats.tokens)
            request = Request.about(image, options.prompt, limit, camera=camera)
            ours = _caption_in_process(engine, request)
            if number:
                late_s = theirs.first_word_late_s - ours.first_word_late_s
                measured.add("http_ttft_ms", 1000 * late_s)
                if theirs.token_s is not None and ours.token_s is not None:
                    measured.add("http_token_ms", 1000 * (theirs.token_s - ours.token_s))


def _caption_in_process(engine: Engine, request: Request) -> TimedCaption:
    return time_caption(engine, lambda: request)


def _caption_over_http(
    port: int, jpeg: bytes, prompt: str, tokens: int, camera: str
) -> TimedCaption:
    """Return one caption by the server on `port`, on a new connection."""
    fields = urlencode({"prompt": prompt, "max_tokens": tokens, "stop_loops": 0, "camera": camera})
    connection = http.client.HTTPConnection(HOST, port, timeout=_CAPTION_TIMEOUT_S)
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
                stats = Stats(**done["stats"])
                return TimedCaption(first_word_s, now_s, done["text"], stats)
            elif line.startswith(b"data: ") and event == "error":
                raise SightlineError(json.loads(line.removeprefix(b"data: "))["error"]["message"])
    finally:
        connection.close()
    raise SightlineError(f"The server answered with status {response.status} and no caption.")
