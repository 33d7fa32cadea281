"""The page and the model side make the same decisions about the same frames.

`vlm/images/change.py` is the twin of the page's change gate and pace; the benchmark prepares frames
as the page does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.bench.frames import JPEG_QUALITY, fitted
from vlm.images.change import (
    HEARTBEAT_S,
    INTERVAL_S,
    LOOK_GAP_S,
    Pace,
    changed_share,
    has_changed,
    thumbnail_of,
)

COMPARE = """
  const thumbnail = ({ rgba, width, height }) => M.thumbnailOf(rgba, width, height);
  const [before, after] = arg.map(thumbnail);
  return [Array.from(after), M.changedShare(before, after), M.hasChanged(before, after)];
"""


def in_browser(image: Image.Image) -> dict[str, Any]:
    rgba = np.asarray(image.convert("RGBA")).flatten().tolist()
    return {"rgba": rgba, "width": image.width, "height": image.height}


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


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        *(
            pytest.param(*random_pair(*size), None, id=f"{size[0]}x{size[1]}")
            for size in ((32, 24), (97, 61), (80, 45), (7, 5), (1, 1), (3, 200))
        ),
        pytest.param(wall(), wall(*range(5)), False, id="5 cells"),
        pytest.param(wall(), wall(*range(6)), True, id="6 cells"),
        pytest.param(wall(), wall(*range(9), change=14), False, id="cells changed by 14"),
        pytest.param(wall(), wall(*range(9), change=15), True, id="cells changed by 15"),
        pytest.param(wall(), wall(level=112), False, id="exposure drift of 12"),
        pytest.param(wall(), wall(level=115), True, id="light changed by 15"),
        pytest.param(wall(), wall(*range(9), level=112, change=14), False, id="drift and 14"),
        pytest.param(wall(), wall(*range(9), level=112, change=15), True, id="drift and 15"),
    ],
)
def test_both_gates_see_the_same_change(
    modules: Any, before: Image.Image, after: Image.Image, changed: bool | None
) -> None:
    frames = [in_browser(each) for each in (before, after)]
    thumbnail, share, decision = modules("core/difference", COMPARE, frames)
    ours = [thumbnail_of(each) for each in (before, after)]
    assert ours[1].flatten().tolist() == thumbnail
    assert changed_share(*ours) == share
    assert has_changed(*ours) is decision
    assert changed in (None, decision)


# A caption shorter and one longer than the interval.
@pytest.mark.parametrize("took_ms", [100, 3000])
def test_both_paces_take_the_next_frame_at_the_same_time(core: Any, took_ms: int) -> None:
    pace = Pace(next_look_s=1.0)
    core.live().captioned(at=1000, took=took_ms)
    pace.send(thumbnail_of(wall()), 1.0, 1.0 + took_ms / 1000)
    assert 1000 * pace.next_look_s == core.plan["lookAt"]
    taken_ms = core.plan["lookAt"]
    core.tell("look-begun", taken_ms).tell("frame-unchanged", taken_ms, id=core.pass_id)
    pace.skip(pace.next_look_s)
    assert 1000 * pace.next_look_s == core.plan["lookAt"]


def test_both_paces_have_the_same_gap_and_heartbeat(core: Any) -> None:
    core.live().tell("setting-changed", name="intervalS", value=0)
    assert core.must_send(0)
    core.captioned(at=0).tell("look-begun", 1000).tell("frame-unchanged", 1000, id=core.pass_id)
    assert core.plan["lookAt"] == 1000 + 1000 * LOOK_GAP_S
    pace, still = Pace(), thumbnail_of(wall())
    assert pace.must_send(still, 0.0)
    pace.send(still, 0.0, 0.1)
    for at_s, is_sent in ((HEARTBEAT_S - 0.001, False), (HEARTBEAT_S, True)):
        assert pace.must_send(still, at_s) is is_sent
        assert core.must_send(1000 * at_s) is is_sent


def test_the_benchmark_prepares_frames_as_the_page_does(core: Any, modules: Any) -> None:
    assert core.state["settings"]["jpegQuality"] == JPEG_QUALITY
    assert core.state["settings"]["intervalS"] == INTERVAL_S
    body = "return arg.map(([width, height]) => M.fitWithin(width, height, 512));"
    sizes = [(1280, 720), (720, 1280), (320, 240), (4000, 3), (513, 512), (1001, 999)]
    theirs = [(each["width"], each["height"]) for each in modules("io/compress", body, sizes)]
    assert [fitted(Image.new("RGB", size), 512).size for size in sizes] == theirs
