"""Measure the boxes of the page: how often they follow, and what they cost the captions.

`python -m tools.bench.boxes_on_page PHOTO [--url URL] [--seconds S] [--rounds N]`, while
`python app.py` runs.

Chromium opens the page with a fake camera that moves over the photograph, so that no two frames are
alike. Each round has a phase without boxes and one with them; only ratios within one run compare.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from PIL import Image

from tools.nano.browser_scenes import QUIET_FLAGS, find_browser
from vlm.errors import SightlineError

CAMERA_SIZE: Final = (1280, 720)
# A loop of four seconds at the fake camera's 30 frames a second.
CAMERA_FRAMES: Final = 120
# The photograph is so much larger than the camera's frame.
_ZOOM: Final = 1.25
_FLAGS: Final = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
_TIMEOUT_MS: Final = 120_000
_WARM_UP_MS: Final = 3_000
_SETTINGS: Final = {"intervalS": 0}

# Notes when each request of the page ended, and how long it took.
_NOTE_REQUESTS: Final = """(settings) => {
  localStorage.setItem("sightline.settings", JSON.stringify(settings));
  window.ended = [];
  const send = window.fetch;
  window.fetch = async (address, options) => {
    const from = performance.now();
    const response = await send(address, options);
    const copy = response.clone();
    copy.text().then(() => {
      const at = performance.now();
      window.ended.push({ path: String(address), at, ms: at - from });
    }).catch(() => {});
    return response;
  };
}"""


# Counts how often boxes move on the screen.
_COUNT_MOVES: Final = """() => {
  window.moves = 0;
  const count = () => { window.moves += 1; };
  new MutationObserver(count).observe(document.querySelector("#boxes"), {
    subtree: true, attributes: true, attributeFilter: ["style"],
  });
}"""


@dataclass
class Phase:
    """Counts of one round, with or without boxes."""

    seconds: float = 0.0
    # Times at which boxes moved on the screen.
    moves: int = 0
    caption_ms: list[float] = field(default_factory=list)
    boxes_ms: list[float] = field(default_factory=list)

    def add(self, seconds: float, moves: int, ended: list[dict[str, Any]]) -> None:
        self.seconds += seconds
        self.moves += moves
        for path, times in (("api/captions", self.caption_ms), ("api/boxes", self.boxes_ms)):
            times.extend(one["ms"] for one in ended if one["path"].endswith(path))

    def figures(self) -> dict[str, float | None]:
        return {
            "captions_per_s": len(self.caption_ms) / self.seconds,
            "moves_per_s": self.moves / self.seconds,
            "looks_per_s": len(self.boxes_ms) / self.seconds,
            "caption_ms": median(self.caption_ms) if self.caption_ms else None,
            "look_ms": median(self.boxes_ms) if self.boxes_ms else None,
        }


def write_moving_camera(photo: Path, out: Path) -> None:
    """Write an .mjpeg in which the frame moves in a circle over `photo`."""
    width, height = CAMERA_SIZE
    with Image.open(photo) as image:
        scale = _ZOOM * max(width / image.width, height / image.height)
        size = (round(image.width * scale), round(image.height * scale))
        large = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    with out.open("wb") as file:
        for index in range(CAMERA_FRAMES):
            turn = 2 * math.pi * index / CAMERA_FRAMES
            left = round((large.width - width) * (1 + math.sin(turn)) / 2)
            top = round((large.height - height) * (1 + math.cos(turn)) / 2)
            frame = io.BytesIO()
            large.crop((left, top, left + width, top + height)).save(frame, "JPEG", quality=85)
            file.write(frame.getvalue())


def measure(url: str, camera: Path, seconds: float, rounds: int) -> dict[str, Phase]:
    """Return the phases "without" and "with"; raise SightlineError if no box ever comes."""
    from playwright.sync_api import sync_playwright

    phases = {"without": Phase(), "with": Phase()}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(),
            args=[*QUIET_FLAGS, *_FLAGS, f"--use-file-for-fake-video-capture={camera}"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(_TIMEOUT_MS)
        page.add_init_script(f"({_NOTE_REQUESTS})({json.dumps(_SETTINGS)})")
        page.goto(url)
        page.locator("#start").click()
        page.wait_for_selector(".history-entry", state="attached")
        page.evaluate(_COUNT_MOVES)
        for _ in range(rounds):
            for name, phase in phases.items():
                page.wait_for_timeout(_WARM_UP_MS)
                from_ms = page.evaluate("(window.ended = [], window.moves = 0, performance.now())")
                page.wait_for_timeout(seconds * 1000)
                found = page.evaluate("[window.ended, window.moves, performance.now()]")
                ended, moves, to_ms = found
                phase.add((to_ms - from_ms) / 1000, moves, ended)
                if name == "with" and not phase.boxes_ms:
                    raise SightlineError("No boxes came: does the server run a detector?")
                page.keyboard.press("b")
        browser.close()
    return phases


def main(argv: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.boxes_on_page")
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="a photograph of things")
    parser.add_argument("--url", default="http://127.0.0.1:8000/", help="of a running server")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each phase (default: 15)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            camera = Path(folder) / "camera.mjpeg"
            write_moving_camera(options.photo, camera)
            phases = measure(options.url, camera, options.seconds, options.rounds)
    except (OSError, SightlineError) as error:
        print(f"boxes_on_page: {error}", file=sys.stderr)
        return 1
    figures = {name: phase.figures() for name, phase in phases.items()}
    for name, row in figures.items():
        print(name, {key: value and round(value, 2) for key, value in row.items()})
    before, after = figures["without"]["captions_per_s"], figures["with"]["captions_per_s"]
    ratio = after / before if before and after else None
    print(json.dumps({"cores": os.cpu_count(), "captions_ratio": ratio, **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
