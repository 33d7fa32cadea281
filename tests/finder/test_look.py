"""A look: detector and classifier side by side."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vlm.errors import PartOffError
from vlm.finder.finder import Finder
from vlm.settings import Settings

IMAGE = Image.radial_gradient("L").convert("RGB").resize((640, 480))


def test_a_look_has_what_each_of_both_sees(finder: Finder) -> None:
    look = finder.look(IMAGE)
    assert look.boxes == finder.detector.get().detect(IMAGE)
    assert np.array_equal(look.probabilities, finder.classifier.get().probabilities(IMAGE))


def test_a_finder_that_has_ended_says_so() -> None:
    ended = Finder(Settings())
    ended.close()
    with pytest.raises(PartOffError):
        ended.look(IMAGE)
