"""Measure the bundled detector: time of a frame, and how much captions beside it slow down.

`python -m tools.small_models.detector_speed [--model MODEL] [--rounds N] [--pause S]`;
JSON is printed last.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from statistics import median
from typing import Final

from PIL import Image

from tools.bench.frames import drawn_scene
from tools.bench.machine import describe_machine
from vlm.detect.detector import Detector
from vlm.detect.nanodet import NanoDet, Precision
from vlm.engine.engine import Engine
from vlm.errors import SightlineError
from vlm.models.loading import load_engine
from vlm.settings import Settings
from vlm.types import Request

_SCENES: Final = 8
_FRAMES_A_ROUND: Final = 10
_ROUND_S: Final = 1.5
_PER_S: Final = 5.0
_QUESTION: Final = "Describe this image briefly."
_MAX_TOKENS: Final = 24

# A set-up: threads, and number format.
_Setup = tuple[int, Precision]
_SETUPS: Final[tuple[_Setup, ...]] = ((1, "f32"), (1, "bf16"), (2, "f32"), (2, "bf16"))


def time_frames(
    images: Sequence[Image.Image], rounds: int, pause_s: float = 0.0
) -> dict[str, dict[str, float]]:
    """Return milliseconds of a frame in each set-up: the best, the median, and of all cores.

    The set-ups take turns, so that other load affects all of them alike.
    """
    detectors = {setup: NanoDet(*setup) for setup in _SETUPS}
    walls: dict[_Setup, list[float]] = {setup: [] for setup in _SETUPS}
    cores_s = dict.fromkeys(_SETUPS, 0.0)
    for index in range(rounds * _FRAMES_A_ROUND):
        if index % _FRAMES_A_ROUND == 0:
            time.sleep(pause_s)
        for setup, detector in detectors.items():
            started_s, started_cores_s = time.perf_counter(), time.process_time()
            detector.detect(images[index % len(images)])
            walls[setup].append(time.perf_counter() - started_s)
            cores_s[setup] += time.process_time() - started_cores_s
    return {
        f"{threads} x {precision}": {
            "best": round(1000 * min(times), 1),
            "median": round(1000 * median(times), 1),
            "cpu": round(1000 * cores_s[threads, precision] / len(times), 1),
        }
        for (threads, precision), times in walls.items()
    }


class Beside:
    """A thread that detects _PER_S times a second, while it is switched on."""

    def __init__(self, detector: Detector, images: Sequence[Image.Image]) -> None:
        self._detector, self._images = detector, images
        self._on, self._ended = threading.Event(), threading.Event()
        self.frames = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def switch(self, on: bool) -> None:
        """Begin or end the detections."""
        if on:
            self._on.set()
        else:
            self._on.clear()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._on.set()
        self._thread.join()

    def _run(self) -> None:
        while self._on.wait() and not self._ended.is_set():
            started_s = time.perf_counter()
            self._detector.detect(self._images[self.frames % len(self._images)])
            self.frames += 1
            self._ended.wait(max(0.0, 1 / _PER_S - (time.perf_counter() - started_s)))


def time_captions(
    engine: Engine,
    images: Sequence[Image.Image],
    precision: Precision,
    rounds: int,
    pause_s: float = 0.0,
) -> dict[str, float]:
    """Return captions a second alone and beside the detector, what that costs, and detections.

    Rounds with and without the detector take turns.
    """
    beside = Beside(NanoDet(1, precision), images)
    captions, seconds = {False: 0, True: 0}, {False: 0.0, True: 0.0}
    for index in range(2 * rounds):
        is_beside = index % 2 == 1
        time.sleep(pause_s)
        beside.switch(is_beside)
        started_s = time.perf_counter()
        while time.perf_counter() - started_s < _ROUND_S:
            image = images[captions[is_beside] % len(images)]
            engine.run(Request.about(image, _QUESTION, _MAX_TOKENS, camera="camera", kind="live"))
            captions[is_beside] += 1
        seconds[is_beside] += time.perf_counter() - started_s
        beside.switch(False)
    beside.close()
    alone, together = (captions[each] / seconds[each] for each in (False, True))
    return {
        "alone_per_s": round(alone, 2),
        "beside_per_s": round(together, 2),
        "slower": round(alone / together - 1, 3),
        "detections_per_s": round(beside.frames / seconds[True], 1),
    }


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.small_models.detector_speed")
    parser.add_argument("--model", default="nano", help="of the captions, as app.py takes it")
    parser.add_argument("--rounds", type=int, default=10, help="default: 10")
    parser.add_argument(
        "--pause",
        type=float,
        default=0.0,
        metavar="S",
        help="sleep before each round, to leave a shared machine to others",
    )
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1 or arguments.pause < 0:
        parser.error("--rounds must be at least 1, and --pause at least 0")
    images = [drawn_scene(number) for number in range(_SCENES)]
    try:
        engine = load_engine(Settings.from_args(["--model", arguments.model], {}))
    except SightlineError as error:
        print(error, file=sys.stderr)
        return 1
    frame_ms = time_frames(images, arguments.rounds, arguments.pause)
    captions = {
        precision: time_captions(engine, images, precision, arguments.rounds, arguments.pause)
        for precision in ("f32", "bf16")
    }
    for name, figures in frame_ms.items():
        print(f"a frame, {name}: {figures} ms")
    for name, figures in captions.items():
        print(f"captions of {engine.info.model} beside {name}: {figures}")
    record = {"machine": describe_machine(), "frame_ms": frame_ms, "captions": captions}
    print(json.dumps(record | {"model": engine.info.model}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
