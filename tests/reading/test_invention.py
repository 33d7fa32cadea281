"""Words are read, and nothing is read where there is none."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reading_kit import texts
from tools.nano.scenes import make_frame
from vlm.reading.reader import Reader

PHOTOS = Path(__file__).resolve().parents[2].parent / "shared" / "photos"
# What a person reads in the photographs that hold text of a readable size.
_SEEN = {
    "000000005001.jpg": {"ohnny's"},
    "000000189775.jpg": {"esurance", "rance", "DailNe", "dailynews.", "LIVE", "PLANET"},
    "000000252332.jpg": {"STOP"},
    "000000423617.jpg": {"160", "180"},
}


def test_words_of_drawn_scenes_are_read_exactly(reader: Reader) -> None:
    frames = [make_frame(seed, "test", "words") for seed in range(60)]
    right = 0
    for frame in frames:
        assert frame.scene.text is not None
        read = " ".join(texts(reader.read(frame.image)))
        right += unicodedata.normalize("NFKC", read) == frame.scene.text.text
    assert right / len(frames) >= 0.85


def test_nothing_is_read_in_drawn_scenes_without_words(reader: Reader) -> None:
    kinds = ("empty", "objects", "covered", "dark", "glare", "blur", "unfamiliar")
    frames = [make_frame(seed, "test", kind) for kind in kinds for seed in range(15)]
    invented = [read for frame in frames if (read := texts(reader.read(frame.image)))]
    assert len(invented) / len(frames) <= 0.02, invented


@pytest.mark.parametrize("size", [(320, 240), (1280, 720)], ids=str)
def test_nothing_is_read_in_patterns(reader: Reader, size: tuple[int, int]) -> None:
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng(7)
    brick_x = x + y // 40 % 2 * 40
    patterns = {
        "black": 0 * x,
        "white": 0 * x + 255,
        "noise": rng.integers(0, 256, (height, width)),
        "stripes": x // 7 % 2 * 200,
        "bricks": np.where((y % 40 < 4) | (brick_x % 80 < 4), 90, 180),
        "chess": (x // 32 + y // 32) % 2 * 255,
        "gradient": x * 255 // width,
        "dots": np.where((x % 30 - 15) ** 2 + (y % 30 - 15) ** 2 < 40, 20, 220),
        "bars": np.where(rng.random((1, width)) < 0.3, 20, 230) + 0 * x,
    }
    read = {
        name: texts(reader.read(Image.fromarray(levels.astype(np.uint8)).convert("RGB")))
        for name, levels in patterns.items()
    }
    assert not any(read.values()), read


@pytest.mark.skipif(not PHOTOS.exists(), reason="the photographs are not here")
def test_only_what_stands_there_is_read_in_photographs(reader: Reader) -> None:
    invented, missed = {}, {}
    for entry in json.loads((PHOTOS / "captions.json").read_text(encoding="utf-8")):
        name = entry["file"]
        with Image.open(PHOTOS / name) as photo:
            read = set(texts(reader.read(photo.convert("RGB"))))
        seen = _SEEN.get(name, set())
        if read - seen:
            invented[name] = read - seen
        if seen - read:
            missed[name] = seen - read
    assert not invented
    assert not missed
