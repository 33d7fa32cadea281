"""Frames of the other renderer: drawn by a real browser, with deterministic ground truth."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tools.nano import browser_scenes
from tools.nano.palette import COLOURS
from tools.nano.sample import FOLDER, SEEDS, SIZE_PX
from tools.nano.shapes import SHAPES
from tools.nano.truth import Scene
from vlm.errors import SightlineError

COUNT = 3
Frames = list[tuple[Image.Image, Scene]]

pytestmark = pytest.mark.browser


def drawn(count: int) -> Frames:
    # Playwright allows one browser for each thread; the page's tests may have one in this thread.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: list(browser_scenes.browser_frames(count))).result()


@pytest.fixture(scope="module")
def frames() -> Frames:
    if browser_scenes.find_browser() is None:
        pytest.skip("needs Chromium on the PATH")
    return drawn(COUNT)


def test_frames_show_taught_objects(frames: Frames) -> None:
    assert len(frames) == COUNT
    for image, scene in frames:
        assert image.mode == "RGB"
        assert np.asarray(image).std() > 5
        assert scene.kind == "objects"
        assert 1 <= len(scene.objects) <= 4
        for item in scene.objects:
            assert item.shape in SHAPES
            assert item.colour in COLOURS
            assert 0 < item.x < 1
            assert 0 < item.y < 1


def test_ground_truth_is_deterministic_and_differs_between_frames(frames: Frames) -> None:
    truths = [scene.objects for _, scene in frames]
    assert [scene.objects for _, scene in drawn(1)] == truths[:1]
    assert len(set(truths)) == len(truths)


def test_objects_are_visible_at_their_positions(frames: Frames) -> None:
    for image, scene in frames:
        pixels = np.asarray(image, dtype=float)
        ground = np.median(pixels.reshape(-1, 3), axis=0)
        differs = np.abs(pixels - ground).max(-1) > 25
        height, width = differs.shape
        for item in scene.objects:
            rows, columns = int(item.y * height), int(item.x * width)
            reach = min(height, width) // 8
            around = differs[
                max(0, rows - reach) : rows + reach, max(0, columns - reach) : columns + reach
            ]
            assert around.mean() > 0.1


def test_missing_browser_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_scenes, "find_browser", lambda: None)
    with pytest.raises(SightlineError, match="Chromium"):
        next(browser_scenes.browser_frames(1))


def test_all_taught_shapes_and_colours_can_be_drawn() -> None:
    assert set(browser_scenes._SHAPES) == set(SHAPES)
    assert set(browser_scenes._PAINTS) == set(COLOURS)
    assert {*browser_scenes._DARK, *browser_scenes._LIGHT} == set(COLOURS)


def test_the_pages_sample_is_what_the_tool_draws() -> None:
    scenes = [browser_scenes.drawn_scene(np.random.default_rng(seed), SIZE_PX) for seed in SEEDS]
    shown = [(FOLDER / f"{number}.svg").read_text() for number in range(1, len(SEEDS) + 1)]
    assert shown == [f"{document}\n" for document, _ in scenes]
