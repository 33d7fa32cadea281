"""The gate of recorded clips is the page's own: the same numbers, the same frames let through."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools.bench import as_page, gate
from tools.bench.pictures import drawn_scene, noisy, panned, touched

SCRIPTS = Path(__file__).resolve().parents[3] / "static" / "js"


def number_in(script: str, before: str) -> float:
    """The number that follows `before` in one of the page's scripts."""
    found = re.search(re.escape(before) + r"([\d._]+)", (SCRIPTS / script).read_text())
    assert found is not None, f"{script} has no {before!r} any more"
    return float(found[1].replace("_", ""))


@pytest.mark.parametrize(
    "name",
    [
        "THUMBNAIL_WIDTH",
        "THUMBNAIL_HEIGHT",
        "CELL_CHANGED_LEVELS",
        "EXPOSURE_DRIFT_LEVELS",
        "CHANGED_SHARE",
    ],
)
def test_the_gate_has_the_pages_numbers(name: str) -> None:
    assert getattr(gate, name) == number_in("difference.js", f"const {name} = ")


def test_the_pace_is_the_pages() -> None:
    assert number_in("state.js", "HEARTBEAT_MS = ") / 1000 == as_page.HEARTBEAT_S
    assert number_in("state.js", "LOOK_GAP_MS = ") / 1000 == as_page.LOOK_GAP_S
    assert number_in("settings.js", "intervalS: [") == as_page.INTERVAL_S
    assert number_in("settings.js", "jpegQuality: [") == as_page.JPEG_QUALITY


def test_noise_is_no_change_and_another_scene_is_one() -> None:
    scene = drawn_scene(0)
    before = gate.thumbnail_of(noisy(scene, 0))
    assert not gate.has_changed(before, gate.thumbnail_of(noisy(scene, 1)))
    assert not gate.has_changed(before, gate.thumbnail_of(touched(scene, 1)))
    assert gate.has_changed(before, gate.thumbnail_of(noisy(drawn_scene(1), 1)))
    assert gate.has_changed(before, gate.thumbnail_of(panned(scene, 1)))


def test_small_drift_of_exposure_is_no_change_and_a_light_switched_on_is_one() -> None:
    def wall(level: int) -> gate.Thumbnail:
        return gate.thumbnail_of(Image.new("RGB", (64, 48), (level, level, level)))

    limit = gate.EXPOSURE_DRIFT_LEVELS
    assert gate.changed_share(wall(100), wall(100 + limit)) == 0
    assert gate.changed_share(wall(100), wall(100 + limit + gate.CELL_CHANGED_LEVELS)) == 1


def test_a_thumbnail_holds_the_mean_of_each_cell() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 96, 3), dtype=np.uint8)
    means = pixels.reshape(24, 2, 32, 3, 3).mean(axis=(1, 3)).astype(np.float32)
    assert np.array_equal(gate.thumbnail_of(Image.fromarray(pixels)), means)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((1280, 720), (512, 288)), ((320, 240), (320, 240)), ((4000, 3), (512, 1))],
)
def test_a_frame_is_made_smaller_in_its_shape_and_never_larger(
    size: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert as_page.fitted(Image.new("RGB", size), 512).size == fitted
