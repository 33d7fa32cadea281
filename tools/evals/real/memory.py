"""The memory of a process after many different frames through all three small models.

`python -m tools.evals.real.memory FRAMES FOLDER` is such a process; it prints one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import psutil
from PIL import Image, ImageEnhance, ImageOps

from tools.evals.figures import Figure
from vlm.errors import SightlineError

EARLY_FRAMES: Final = 50


def memory_figures(frames: int, photos: Path) -> list[Figure]:
    """Return the memory after `frames` frames to that after EARLY_FRAMES."""
    command = [sys.executable, "-m", "tools.evals.real.memory", str(frames), str(photos)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SightlineError(f"The process for the memory exited with code {done.returncode}.")
    early, late = json.loads(done.stdout.splitlines()[-1])
    note = f"{early / 1e6:.0f} MB after {EARLY_FRAMES} frames, {late / 1e6:.0f} after {frames}"
    return [Figure("memory_ratio", late / early, most=1.1, note=note)]


def different_frames(images: Sequence[Image.Image], count: int) -> Iterator[Image.Image]:
    """Yield parts of the images, mirrored, brightened and scaled at random; no two are equal."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        image = images[int(rng.integers(len(images)))]
        part = rng.uniform(0.5, 1) * np.array(image.size)
        left, top = rng.random(2) * (image.size - part)
        image = image.crop((int(left), int(top), int(left + part[0]), int(top + part[1])))
        image = ImageOps.mirror(image) if rng.random() < 0.5 else image
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.3))
        width, height = rng.integers(240, 1281), rng.integers(240, 721)
        yield image.resize((int(width), int(height)))


def main(argv: Sequence[str]) -> int:
    """Run the process; return the exit code."""
    from tools.evals.photographs import coco
    from tools.evals.real.models import SmallModels
    from vlm.reading.reader import load_reader

    frames, photos = int(argv[0]), Path(argv[1])
    models, reader, process = SmallModels(), load_reader(), psutil.Process()
    early_bytes = 0
    images = list(coco(photos).values())
    for number, frame in enumerate(different_frames(images, frames), start=1):
        models.look(frame)
        reader.read(frame)
        if number == EARLY_FRAMES:
            early_bytes = process.memory_info().rss
    print(json.dumps([early_bytes, process.memory_info().rss]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
