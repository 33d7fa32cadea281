"""The bench's gate in Python decides as the page's own does, on the same pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.bench.gate import changed_share, thumbnail_of

COMPARE = """
  const thumbnail = ({ rgba, width, height }) => M.thumbnailOf(rgba, width, height);
  const [before, after] = arg.map(thumbnail);
  return [Array.from(after), M.changedShare(before, after)];
"""


def in_browser(image: Image.Image) -> dict[str, Any]:
    rgba = np.asarray(image.convert("RGBA")).flatten().tolist()
    return {"rgba": rgba, "width": image.width, "height": image.height}


@pytest.mark.parametrize("size", [(32, 24), (97, 61), (80, 45), (7, 5), (1, 1), (3, 200)])
def test_both_gates_see_the_same_change(modules: Any, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size)
    before = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    # Levels around the limit of what counts, so that roundings would be found out.
    changes = rng.choice([-20, 0, 3, 14, 15, 17, 26], before.shape)
    after = (before + changes).clip(0, 255).astype(np.uint8)
    pictures = [Image.fromarray(before), Image.fromarray(after)]
    thumbnail, share = modules("core/difference", COMPARE, [in_browser(each) for each in pictures])
    ours = [thumbnail_of(each) for each in pictures]
    assert ours[1].flatten().tolist() == thumbnail
    assert changed_share(*ours) == share
