"""The picture that is sent is the whole picture of the camera, with its true levels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Page

from canvas_camera import CANVAS_CAMERA, LAST_IMAGE, data_url
from fake_camera import write_camera_file
from known_scenes import plain_scenes
from page_actions import KEEP_FORMS, press_start

SENT = "window.sentForms.length"
# From 1:2 to 3:1, some of them larger than the picture that the page asks for.
SHAPES = [
    *((320, 640), (360, 640), (480, 720), (768, 1024), (800, 1000), (960, 960)),
    *((1280, 1024), (2592, 1944), (1280, 800), (1280, 720), (1280, 640), (1920, 640)),
]
SOME_SHAPES = [(320, 640), (960, 960), (1920, 640)]
RIM_COLOURS = ("red", "blue", "green", "black")
# JPEG and Chromium's scaling; a camera's picture that lost 2 % of its height differs by 8 levels.
SAME_LEVELS = 4.0


def framed(size: tuple[int, int]) -> Image.Image:
    """Return a white picture with a rim of another colour at each side, a twentieth wide."""
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    (width, height), (across, down) = size, (size[0] // 20, size[1] // 20)
    sides = [
        *((0, 0, width, down), (0, height - down, width, height)),
        *((0, 0, across, height), (width - across, 0, width, height)),
    ]
    for side, colour in zip(sides, RIM_COLOURS, strict=True):
        draw.rectangle(side, colour)
    return picture


def send_one(page: Page) -> Image.Image:
    """Start, wait for the first picture that is sent, stop; return the picture."""
    before = page.evaluate(SENT)
    press_start(page)
    page.wait_for_function(f"(before) => {SENT} > before", arg=before)
    sent = Image.open(io.BytesIO(bytes(page.evaluate(LAST_IMAGE)))).convert("RGB")
    press_start(page)
    return sent


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a camera, which is read at each start, so that one browser has them all."""
    return write_camera_file(tmp_path_factory.mktemp("camera") / "camera.mjpeg", [(greys(), 2)])


@pytest.mark.parametrize("shapes", [SOME_SHAPES, pytest.param(SHAPES, marks=pytest.mark.slow)])
def test_cameras_of_any_shape_are_sent_whole(open_page, url, camera, shapes):
    page = open_page(url, camera, init_script=KEEP_FORMS)
    for size in shapes:
        write_camera_file(camera, [(framed(size), 2)])
        sent = send_one(page)
        assert sent.width / sent.height == pytest.approx(size[0] / size[1], rel=0.02), size
        expected = framed(size).resize(sent.size, Image.Resampling.BOX)
        difference = np.abs(np.asarray(sent, dtype=float) - np.asarray(expected, dtype=float))
        assert difference.mean() <= SAME_LEVELS, size


GREYS = range(0, 256, 17)


def greys() -> Image.Image:
    """Return stripes of grey from black to white."""
    stripes = Image.fromarray(np.array([GREYS], dtype=np.uint8))
    return stripes.resize((40 * len(GREYS), 480), Image.Resampling.NEAREST).convert("RGB")


def stripes_of(picture: Image.Image) -> list[float]:
    """Return the mean level of the middle of each stripe."""
    width = picture.width / len(GREYS)
    middles = [(width * (index + 0.3), width * (index + 0.7)) for index in range(len(GREYS))]
    return [
        float(np.asarray(picture.crop((round(left), 10, round(right), 90))).mean())
        for left, right in middles
    ]


def test_levels_of_both_kinds_of_cameras_are_true(open_page, url, camera):
    page = open_page(url, camera, init_script=KEEP_FORMS)
    for full_range in (True, False):
        write_camera_file(camera, [(greys(), 2)], full_range)
        assert stripes_of(send_one(page)) == pytest.approx(GREYS, abs=4), full_range


BAND_DEPTHS = (0.12, 0.25)
BANDS_MS = 12_000


def test_rolling_light_on_a_still_scene_is_captioned_at_most_three_times(open_page, url):
    picture = data_url(next(plain_scenes())[0])
    pages = []
    for depth in BAND_DEPTHS:
        page = open_page(url, init_script=CANVAS_CAMERA + KEEP_FORMS)
        page.evaluate("(picture) => testCamera.show(picture)", picture)
        page.evaluate("(depth) => testCamera.bands(depth)", depth)
        press_start(page)
        pages.append(page)
    pages[-1].wait_for_timeout(BANDS_MS)
    counts = [page.evaluate(SENT) for page in pages]
    assert min(counts) >= 1
    assert max(counts) <= 3
