"""Many virtual cameras against one server over HTTP, each like the page: one frame in flight."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpx2
import psutil

from tools.bench.frames import jpegs_by_camera, open_clip
from tools.bench.measurements import percentile
from tools.bench.over_http import HOST, served, wait_until_ready
from tools.bench.setup import Setup
from vlm.errors import SightlineError
from vlm.images.change import CAPTURE_GAP_S
from vlm.results import EngineInfo

Ending = Literal["captioned", "refused", "superseded", "failed", "unanswered"]

WARM_UP_S: Final = 10.0
ALONE_S: Final = 15.0
SETTLED_S: Final = 60.0
# Longer than any queue; a frame without an answer until then counts as unanswered.
ANSWER_LIMIT_S: Final = 120.0

_DEFAULT_RETRY_AFTER_S: Final = 1.0
_MEMORY_INTERVAL_S: Final = 1.0
_INFO: Final = ("model", "runtime", "device", "dtype", "frame_size_px")


@dataclass(frozen=True)
class Answer:
    """The outcome of one frame. Times are seconds since it was sent, None if nothing arrived."""

    ending: Ending
    first_word_s: float | None = None
    all_s: float | None = None
    # Why there was no caption.
    problem: str | None = None
    # The delay that a busy server requested.
    retry_after_s: float = 0.0
    # The time from this frame to the camera's next one that the server has chosen.
    interval_s: float = 0.0


class CameraClient:
    """One camera that requests live captions over one connection. Close it.

    A caption of 10 tokens takes it 1.3 ms of CPU time. Cameras that share one client take 1.9 ms
    each, because its pool checks all connections at each request.
    """

    def __init__(self, url: str, camera: str, prompt: str, tokens: int) -> None:
        # The proxies of the environment are not used. The TLS context is empty, because the URL is
        # http and httpx2's own context takes 20 ms to load.
        transport = httpx2.AsyncHTTPTransport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self._http = httpx2.AsyncClient(transport=transport, timeout=None, trust_env=False)
        self._url = f"{url}/api/captions"
        self._query: dict[str, str | int] = {
            "camera": camera,
            "kind": "live",
            "prompt": prompt,
            "max_tokens": tokens,
            "stop_loops": 0,
        }

    async def caption(self, jpeg: bytes) -> Answer:
        """Send one frame and return its outcome. Raises nothing but CancelledError."""
        try:
            return await asyncio.wait_for(self._caption(jpeg), ANSWER_LIMIT_S)
        except asyncio.TimeoutError:
            return Answer("unanswered", problem=f"nothing within {ANSWER_LIMIT_S:.0f} s")
        except httpx2.HTTPError as error:
            return Answer("unanswered", problem=f"the connection broke: {error!r}")

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _caption(self, jpeg: bytes) -> Answer:
        started_s = time.perf_counter()
        async with self._http.stream(
            "POST",
            self._url,
            params=self._query,
            content=jpeg,
            headers={"Content-Type": "image/jpeg"},
        ) as response:
            if response.status_code != 200:
                return _refusal(response, await response.aread())
            return await _read_events(response, started_s)


async def _read_events(response: httpx2.Response, started_s: float) -> Answer:
    first_word_s = None
    answer = None
    async for event in httpx2.EventSource(response):
        now_s = time.perf_counter() - started_s
        if event.event == "token" and first_word_s is None:
            first_word_s = now_s
        elif event.event == "done":
            interval_s = _interval_s(event.data)
            answer = Answer("captioned", first_word_s or now_s, now_s, interval_s=interval_s)
        elif event.event == "error":
            code, message = _code_and_message(event.data)
            ending: Ending = "superseded" if code == "superseded" else "failed"
            answer = Answer(ending, first_word_s, now_s, problem=f"{code}: {message}")
    return answer or Answer("unanswered", first_word_s, problem="the stream ended midway")


def _refusal(response: httpx2.Response, body: bytes) -> Answer:
    status = response.status_code
    code, message = _code_and_message(body)
    retry_after_s = _DEFAULT_RETRY_AFTER_S
    with contextlib.suppress(ValueError):
        retry_after_s = float(response.headers.get("retry-after", ""))
    ending: Ending = "refused" if status == 503 else "failed"
    return Answer(ending, problem=f"{status} {code}: {message}", retry_after_s=retry_after_s)


def _interval_s(done: str) -> float:
    """Return the interval in the data of a `done` event; 0 if there is none."""
    try:
        return float(json.loads(done)["stats"]["chosen"]["interval_s"])
    except (ValueError, KeyError, TypeError):
        return 0.0


def _code_and_message(body: str | bytes) -> tuple[str, str]:
    try:
        error: Any = json.loads(body)["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return "", "not an error of Sightline"


@dataclass
class Load:
    """The outcomes of the frames of all cameras."""

    seconds: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    # Captions by camera.
    served: list[int] = field(default_factory=list)

    def first_word_s(self, share: float) -> float | None:
        """Return the quantile `share` (0..1) of the time to the first word."""
        return percentile([each.first_word_s or 0.0 for each in self._captioned()], share)

    def figures(self) -> dict[str, Any]:
        """Return all figures by their keys; None if there was no caption to compute one from."""
        captioned = self._captioned()
        endings = Counter(each.ending for each in self.answers)
        most, average = max(self.served), mean(self.served)
        return {
            "clients": len(self.served),
            "seconds": self.seconds,
            "captions": len(captioned),
            "captions_per_s": len(captioned) / self.seconds,
            "first_word_p50_s": self.first_word_s(0.5),
            "first_word_p95_s": self.first_word_s(0.95),
            "caption_p50_s": percentile([each.all_s or 0.0 for each in captioned], 0.5),
            "least_served": min(self.served),
            "most_served": most,
            "least_over_mean": min(self.served) / average if average else None,
            "least_over_most": min(self.served) / most if most else None,
            "refused": endings["refused"],
            "superseded": endings["superseded"],
            "failed": endings["failed"],
            "unanswered": endings["unanswered"],
            "problems": dict(
                Counter(each.problem for each in self.answers if each.problem).most_common(5)
            ),
        }

    def _captioned(self) -> list[Answer]:
        return [each for each in self.answers if each.ending == "captioned"]


@dataclass(frozen=True)
class Target:
    """A server and what is sent to it."""

    url: str
    prompt: str
    tokens: int
    # Each camera's JPEGs.
    cameras: Sequence[Sequence[bytes]]
    # JPEGs a second.
    fps: float
    # Cameras wait for the interval that the server has chosen.
    paced: bool = False


def measure_clients(setup: Setup) -> tuple[EngineInfo, tuple[int, int], dict[str, Any]]:
    """Return the server's engine, the size of a frame, and the figures.

    Raises SightlineError if there is no server, or none that can caption.
    """
    url = setup.options.url
    if url is None:
        setup.say("Starting the server.")
        with served(setup) as server:
            return _measure(setup, HOST, server.port, server.pid)
    parts = urlsplit(url)
    return _measure(setup, parts.hostname or HOST, parts.port or 80, None)


def _measure(
    setup: Setup, host: str, port: int, pid: int | None
) -> tuple[EngineInfo, tuple[int, int], dict[str, Any]]:
    options = setup.options
    status = wait_until_ready(host, port)
    if not status.keys() >= set(_INFO):
        raise SightlineError("The server at this address is not Sightline.")
    info = EngineInfo(**{key: status[key] for key in _INFO})
    clip = open_clip(options.video or "nano", options.fps)
    setup.say("Compressing the frames.")
    cameras = jpegs_by_camera(clip, info.frame_size_px, options.clients)
    if damage := clip.damage():
        setup.say(damage)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    target = Target(url, options.prompt, options.tokens, cameras, options.fps, options.paced)
    setup.say(f"Warming up for {WARM_UP_S:.0f} s.")
    asyncio.run(_watch(target, options.clients, min(WARM_UP_S, options.seconds), None))
    alone_s = None
    if options.against_alone:
        setup.say(f"One camera alone for {ALONE_S:.0f} s.")
        alone = asyncio.run(_watch(target, 1, min(ALONE_S, options.seconds), None))
        alone_s = alone.first_word_s(0.5)
    setup.say(f"{options.clients} cameras for {options.seconds:g} s.")
    memory: list[float] = []
    load = asyncio.run(
        _watch(target, options.clients, options.seconds, None if pid is None else (pid, memory))
    )
    figures = load.figures()
    first_word_s = figures["first_word_p50_s"]
    both = alone_s is not None and first_word_s is not None
    figures["alone_first_word_p50_s"] = alone_s
    figures["first_word_over_alone"] = first_word_s / alone_s if both else None
    return info, clip.picture(0).size, figures | _memory_figures(memory, options.seconds)


async def _watch(
    target: Target, clients: int, seconds: float, memory: tuple[int, list[float]] | None
) -> Load:
    """Run `clients` cameras for `seconds`, then wait for the requests in flight."""
    load = Load(served=[0] * clients)
    began_s = time.perf_counter()
    cameras = [
        _camera(target, load, number, began_s, began_s + seconds) for number in range(clients)
    ]
    sampler = asyncio.ensure_future(_sample_memory(*memory)) if memory else None
    await asyncio.gather(*cameras)
    load.seconds = time.perf_counter() - began_s
    if sampler is not None:
        sampler.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sampler
    return load


async def _camera(target: Target, load: Load, number: int, began_s: float, ends_s: float) -> None:
    """Run one camera: send the frame of this moment, or the next if that was sent already."""
    frames = target.cameras[number]
    index = -1
    client = CameraClient(target.url, f"bench-{number}", target.prompt, target.tokens)
    async with contextlib.aclosing(client):
        while (now_s := time.perf_counter()) < ends_s:
            index = max(index + 1, int((now_s - began_s) * target.fps))
            answer = await client.caption(frames[index % len(frames)])
            load.answers.append(answer)
            load.served[number] += answer.ending == "captioned"
            if target.paced:
                spent_s = time.perf_counter() - now_s
                await asyncio.sleep(max(0.0, answer.interval_s - spent_s))
            if answer.ending != "captioned":
                # Like the page, which waits after a frame without a caption.
                await asyncio.sleep(max(answer.retry_after_s, CAPTURE_GAP_S))


async def _sample_memory(pid: int, memory: list[float]) -> None:
    while (rss := rss_bytes(pid)) is not None:
        memory.append(rss)
        await asyncio.sleep(_MEMORY_INTERVAL_S)


def rss_bytes(pid: int) -> int | None:
    """Return the resident memory of process `pid`; None if there is no such process."""
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return None


def _memory_figures(memory: Sequence[float], seconds: float) -> dict[str, float | None]:
    """Compare the means of the first and the last minute, or thirds of a shorter run."""
    if not memory:
        return dict.fromkeys(("rss_first_mb", "rss_last_mb", "rss_last_over_first"))
    samples = max(1, int(min(SETTLED_S, seconds / 3) / _MEMORY_INTERVAL_S))
    first, last = mean(memory[:samples]), mean(memory[-samples:])
    return {
        "rss_first_mb": first / 1e6,
        "rss_last_mb": last / 1e6,
        "rss_last_over_first": last / first,
    }
