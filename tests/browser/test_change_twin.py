"""The page and the model side make the same decisions about the same frames.

`vlm/images/change.py` is the twin of the page's change gate and pace; the benchmark prepares frames
as the page does.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.bench.frames import JPEG_QUALITY, fitted
from vlm.images.change import (
    CAPTURE_GAP_S,
    HEARTBEAT_S,
    INTERVAL_S,
    Pace,
    changed_share,
    has_changed,
    thumbnail_of,
)

# Pixels and levels pass as base64: as lists of numbers they take a second a pair.
COMPARE = """
  const bytes = (base64) => Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const base64 = (array) => btoa(String.fromCharCode(...new Uint8Array(array.buffer)));
  const thumbnail = ({ rgba, width, height }) => M.thumbnailOf(bytes(rgba), width, height);
  return arg.map((pair) => {
    const [before, after] = pair.map(thumbnail);
    return [base64(after), M.changedShare(before, after), M.hasChanged(before, after)];
  });
"""


def in_browser(image: Image.Image) -> dict[str, Any]:
    rgba = base64.b64encode(image.convert("RGBA").tobytes())
    return {"rgba": rgba.decode(), "width": image.width, "height": image.height}


def wall(*changed_cells: int, level: int = 100, change: int = 40) -> Image.Image:
    """One pixel a cell, all of one grey, some cells changed."""
    pixels = np.full((24 * 32, 3), level, dtype=np.uint8)
    pixels[list(changed_cells)] += np.uint8(change)
    return Image.fromarray(pixels.reshape(24, 32, 3))


def random_pair(width: int, height: int) -> tuple[Image.Image, Image.Image]:
    rng = np.random.default_rng((width, height))
    before = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    # Levels around the limit of a changed cell, so that a different rounding would be noticed.
    changes = rng.choice([-20, 0, 3, 14, 15, 17, 26], before.shape)
    after = (before + changes).clip(0, 255).astype(np.uint8)
    return Image.fromarray(before), Image.fromarray(after)


def banded(image: Image.Image, depth: float, phase: float, upright: bool = False) -> Image.Image:
    """Two bands of rolling light, up to `depth` darker; from top to bottom, or side to side."""
    pixels = np.asarray(image, dtype=np.float64)
    lines = np.arange(pixels.shape[1 if upright else 0])
    wave = 0.5 + 0.5 * np.sin(lines * 4 * np.pi / len(lines) + phase)
    light = (1 - depth * wave)[None, :, None] if upright else (1 - depth * wave)[:, None, None]
    return Image.fromarray((pixels * light).round().astype(np.uint8))


def disc(x: int, radius: int = 3) -> Image.Image:
    """A red disc on a bright wall, one pixel a cell."""
    rows, columns = np.mgrid[:24, :32]
    inside = (rows - 12) ** 2 + (columns - x) ** 2 < radius**2
    return Image.fromarray(np.where(inside[..., None], (200, 40, 40), (230, 225, 215)).astype("u1"))


def under_bands(depth: float, upright: bool) -> list[tuple[Image.Image, Image.Image, bool]]:
    """A still scene and two that change, each in two phases of rolling light."""
    phases = [(0.0, 1.1), (0.7, 3.8), (2.0, 5.2)]
    scenes = [(disc(10), disc(10), False), (disc(10), disc(18), True), (disc(10), disc(0, 0), True)]
    return [
        (banded(before, depth, one, upright), banded(after, depth, other, upright), changed)
        for before, after, changed in scenes
        for one, other in phases
    ]


SIZES = [(32, 24), (97, 61), (80, 45), (7, 5), (1, 1), (3, 200)]
CASES = [
    *((*random_pair(*size), None) for size in SIZES),
    # Five of the 768 cells are no change, six are.
    (wall(), wall(*range(5)), False),
    (wall(), wall(*range(6)), True),
    # A cell has changed by more than 14 levels, also beside an exposure drift of up to 12.
    (wall(), wall(*range(9), change=14), False),
    (wall(), wall(*range(9), change=15), True),
    (wall(), wall(level=112), False),
    (wall(), wall(level=115), True),
    (wall(), wall(*range(9), level=112, change=14), False),
    (wall(), wall(*range(9), level=112, change=15), True),
    # Bands of rolling light are no change, but a disc that moves or goes under them is.
    *(
        case
        for depth in (0.12, 0.25)
        for upright in (False, True)
        for case in under_bands(depth, upright)
    ),
]


def test_both_gates_see_the_same_change(modules: Any) -> None:
    arg = [[in_browser(image) for image in (before, after)] for before, after, _ in CASES]
    results = modules("core/difference", COMPARE, arg)
    for (before, after, changed), (thumbnail, share, decision) in zip(CASES, results, strict=True):
        ours = [thumbnail_of(image) for image in (before, after)]
        assert ours[1].tobytes() == base64.b64decode(thumbnail)
        assert changed_share(*ours) == share
        assert has_changed(*ours) is decision
        assert changed in (None, decision)


# A caption shorter and one longer than the interval.
@pytest.mark.parametrize("took_ms", [100, 3000])
def test_both_paces_take_the_next_frame_at_the_same_time(core: Any, took_ms: int) -> None:
    pace = Pace(capture_at_s=1.0)
    core.live().captioned(at=1000, took=took_ms)
    pace.send(thumbnail_of(wall()), 1.0, 1.0 + took_ms / 1000)
    assert 1000 * pace.capture_at_s == core.plan["captureAt"]
    taken_ms = core.plan["captureAt"]
    core.dispatch("capture-started", taken_ms).dispatch("frame-unchanged", taken_ms)
    pace.skip(pace.capture_at_s)
    assert 1000 * pace.capture_at_s == core.plan["captureAt"]


def test_both_paces_have_the_same_gap_and_heartbeat(core: Any) -> None:
    core.live().dispatch("setting-changed", name="intervalS", value=0)
    assert core.must_send(0)
    core.captioned(at=0).dispatch("capture-started", 1000).dispatch("frame-unchanged", 1000)
    assert core.plan["captureAt"] == 1000 + 1000 * CAPTURE_GAP_S
    pace, still = Pace(), thumbnail_of(wall())
    assert pace.must_send(still, 0.0)
    pace.send(still, 0.0, 0.1)
    for at_s, is_sent in ((HEARTBEAT_S - 0.001, False), (HEARTBEAT_S, True)):
        assert pace.must_send(still, at_s) is is_sent
        assert core.must_send(1000 * at_s) is is_sent


def test_benchmark_prepares_frames_as_the_page_does(core: Any, modules: Any) -> None:
    assert core.state["settings"]["jpegQuality"] == JPEG_QUALITY
    assert core.state["settings"]["intervalS"] == INTERVAL_S
    body = "return arg.map(([width, height]) => M.fitWithin(width, height, 512));"
    sizes = [(1280, 720), (720, 1280), (320, 240), (4000, 3), (513, 512), (1001, 999)]
    theirs = [(each["width"], each["height"]) for each in modules("io/compress", body, sizes)]
    assert [fitted(Image.new("RGB", size), 512).size for size in sizes] == theirs
