"""Many virtual cameras against one server over HTTP, each as the page is: one frame in flight."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any, Final
from urllib.parse import urlsplit

from tools.bench.as_page import fitted, to_jpeg
from tools.bench.camera_client import Answer, CameraClient
from tools.bench.clip import Clip, open_clip
from tools.bench.pictures import cornered
from tools.bench.served import HOST, served, wait_until_ready
from tools.bench.setup import Setup
from tools.bench.spread import percentile
from vlm.errors import SightlineError
from vlm.types import EngineInfo

# All are compressed before the clock starts, so that the clients are not what is measured.
CLIP_FRAMES: Final = 600
ALL_FRAMES: Final = 3000
LEAST_FRAMES_EACH: Final = 8
WARM_UP_S: Final = 10.0
ALONE_S: Final = 15.0
SETTLED_S: Final = 60.0

_LOOK_AT_MEMORY_S: Final = 1.0
# As the page, which lets a frame that came to nothing be followed by the next only after a while.
_GAP_S: Final = 0.15
_INFO: Final = ("model", "runtime", "device", "dtype", "frame_size_px")

# Key in the JSON, what it is in the table, decimals there.
CLIENTS: Final = (
    ("clients", "cameras", 0),
    ("seconds", "for, s", 1),
    ("captions", "captions", 0),
    ("captions_per_s", "captions a second", 1),
    ("first_word_p50_s", "first word, p50, s", 3),
    ("first_word_p95_s", "first word, p95, s", 3),
    ("caption_p50_s", "whole caption, p50, s", 3),
    ("alone_first_word_p50_s", "one camera alone: first word, p50, s", 3),
    ("first_word_over_alone", "first word to one camera's alone", 2),
    ("least_over_mean", "least served camera to the mean", 2),
    ("least_over_most", "least served camera to the most served", 2),
    ("refused", "refused", 0),
    ("superseded", "superseded", 0),
    ("failed", "errors", 0),
    ("unanswered", "unanswered", 0),
    ("rss_first_mb", "server's memory at first, MB", 1),
    ("rss_last_mb", "server's memory at last, MB", 1),
    ("rss_last_over_first", "server's memory, last to first", 3),
)


@dataclass
class Load:
    """What became of the frames of all cameras."""

    seconds: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    served: list[int] = field(default_factory=list)
    """Captions by camera."""

    def first_word_s(self, share: float) -> float | None:
        """The time to the first word that `share` of the captions did not exceed."""
        return percentile([each.first_word_s or 0.0 for each in self._captioned()], share)

    def figures(self) -> dict[str, Any]:
        """All figures by their keys; None for those that no caption gave."""
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
    """A server to ask, and how; `cameras` are each camera's JPEGs, `fps` of them a second."""

    host: str
    port: int
    prompt: str
    tokens: int
    cameras: Sequence[Sequence[bytes]]
    fps: float


def measure_clients(setup: Setup) -> tuple[EngineInfo, tuple[int, int], dict[str, Any]]:
    """Ask as the options say; what runs there, the size of a frame, and the figures.

    Raises SightlineError where there is no server, or none that can caption.
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
        raise SightlineError("What answers there is no Sightline.")
    info = EngineInfo(**{key: status[key] for key in _INFO})
    clip = open_clip(options.video or "nano", options.fps)
    setup.say("Compressing the frames.")
    cameras = jpegs_by_camera(clip, info.frame_size_px, options.clients)
    target = Target(host, port, options.prompt, options.tokens, cameras, options.fps)
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


def jpegs_by_camera(clip: Clip, frame_size_px: int, cameras: int) -> list[list[bytes]]:
    """A stretch of `clip` for each camera, as the page would send it.

    No two cameras have the same frame, of which the server would remember the encoding.
    """
    count = min(CLIP_FRAMES, len(clip))
    each = min(count, max(LEAST_FRAMES_EACH, ALL_FRAMES // cameras))
    starts = [camera * count // cameras for camera in range(cameras)]
    jpegs: list[list[bytes]] = [[b""] * each for _ in starts]
    for index in range(count):
        picture = fitted(clip.picture(index), frame_size_px)
        for camera, start in enumerate(starts):
            place = (index - start) % count
            if place < each:
                jpegs[camera][place] = to_jpeg(cornered(picture, camera))
    return jpegs


async def _watch(
    target: Target, clients: int, seconds: float, memory: tuple[int, list[float]] | None
) -> Load:
    """`clients` cameras that ask for `seconds`, and then wait for what is under way."""
    load = Load(served=[0] * clients)
    began_s = time.perf_counter()
    cameras = [
        _camera(target, load, number, began_s, began_s + seconds) for number in range(clients)
    ]
    look = asyncio.ensure_future(_look_at_memory(*memory)) if memory else None
    await asyncio.gather(*cameras)
    load.seconds = time.perf_counter() - began_s
    if look is not None:
        look.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await look
    return load


async def _camera(target: Target, load: Load, number: int, began_s: float, ends_s: float) -> None:
    """One camera: its frame of this moment, or its next where that one was sent already."""
    frames = target.cameras[number]
    index = -1
    client = CameraClient(target.host, target.port, f"bench-{number}", target.prompt, target.tokens)
    try:
        while (now_s := time.perf_counter()) < ends_s:
            index = max(index + 1, int((now_s - began_s) * target.fps))
            answer = await client.ask(frames[index % len(frames)])
            load.answers.append(answer)
            load.served[number] += answer.ending == "captioned"
            if answer.ending != "captioned":
                await asyncio.sleep(max(answer.retry_after_s, _GAP_S))
    finally:
        client.close()


async def _look_at_memory(pid: int, memory: list[float]) -> None:
    while True:
        rss = rss_bytes(pid)
        if rss is not None:
            memory.append(rss)
        await asyncio.sleep(_LOOK_AT_MEMORY_S)


def rss_bytes(pid: int) -> int | None:
    """What process `pid` holds in memory; None where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), None)
    return None if line is None else int(line.split()[1]) * 1024


def _memory_figures(memory: Sequence[float], seconds: float) -> dict[str, float | None]:
    """The first minute's mean against the last one's, thirds of the time where that is shorter."""
    if not memory:
        return dict.fromkeys(("rss_first_mb", "rss_last_mb", "rss_last_over_first"))
    looks = max(1, int(min(SETTLED_S, seconds / 3) / _LOOK_AT_MEMORY_S))
    first, last = mean(memory[:looks]), mean(memory[-looks:])
    return {
        "rss_first_mb": first / 1e6,
        "rss_last_mb": last / 1e6,
        "rss_last_over_first": last / first,
    }


def named_after(setup: Setup, info: EngineInfo) -> Setup:
    """`setup` with the model that the server runs, whatever was asked for here."""
    return replace(setup, options=replace(setup.options, model=info.model))
