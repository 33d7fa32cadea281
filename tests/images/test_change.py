"""The change gate and the pace of one camera."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tools.bench.frames import drawn_scene, noisy, panned, touched
from vlm.images.change import HEARTBEAT_S, Pace, has_changed, thumbnail_of

SCENE = thumbnail_of(drawn_scene(0))


@pytest.mark.parametrize(
    ("after", "changed"),
    [
        pytest.param(noisy(drawn_scene(0), 1), False, id="sensor noise"),
        pytest.param(touched(drawn_scene(0), 1), False, id="one pixel"),
        pytest.param(noisy(drawn_scene(1), 1), True, id="another scene"),
        pytest.param(panned(drawn_scene(0), 1), True, id="a turned camera"),
    ],
)
def test_gate_passes_new_scenes_and_stops_noise(after: Image.Image, changed: bool) -> None:
    assert has_changed(thumbnail_of(noisy(drawn_scene(0), 0)), thumbnail_of(after)) is changed


def test_thumbnail_holds_the_mean_of_each_cell() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 96, 3), dtype=np.uint8)
    means = pixels.reshape(24, 2, 32, 3, 3).mean(axis=(1, 3)).astype(np.float32)
    assert np.array_equal(thumbnail_of(Image.fromarray(pixels)), means)


def test_pace_sends_the_first_frame_then_changes_then_at_each_heartbeat() -> None:
    other = thumbnail_of(drawn_scene(1))
    pace = Pace()
    assert pace.must_send(SCENE, 0.0)
    pace.send(SCENE, 0.0, 0.2)
    assert not pace.must_send(SCENE, 1.0)
    assert pace.must_send(other, 1.0)
    pace.send(other, 1.0, 1.2)
    assert pace.must_send(SCENE, 2.0)
    assert not pace.must_send(other, 0.9 + HEARTBEAT_S)
    assert pace.must_send(other, 1.0 + HEARTBEAT_S)
