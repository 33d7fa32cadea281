"""Frames are shrunk so that each pixel counts, alike in both browsers, and are not falsified."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import expect

from canvas_camera import CANVAS_CAMERA, LAST_IMAGE, data_url
from page_actions import KEEP_FORMS, press_start, wait_for_caption

SIZE = (1280, 720)
SENT_SIZE = (192, 108)
MIN_DB = 29.0
HAND_PX = 3
SHAKING_S = 9
WORDS = "The quick brown fox jumps over the lazy dog while an old printer prints page after page"

AVERAGE = """
  return arg.map(([rgba, width, height, size]) =>
    Array.from(M.areaAverage(Uint8ClampedArray.from(rgba), width, height, size)));
"""


def printed_page() -> Image.Image:
    """Return a page full of small letters."""
    page = Image.new("RGB", SIZE, "white")
    text = "\n".join(f"{WORDS[line:]} {WORDS}"[:105] for line in range(20))
    draw = ImageDraw.Draw(page)
    draw.multiline_text((40, 30), text, "black", ImageFont.load_default(22), spacing=8)
    return page


def area_average(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the exact means: each pixel is repeated, so that the new size divides the old one."""
    means = pixels.astype(np.float64)
    for axis, new in ((0, height), (1, width)):
        old = means.shape[axis]
        fine = means.repeat(new // math.gcd(old, new), axis=axis)
        together = fine.shape[axis] // new
        shape = [*fine.shape[:axis], new, together, *fine.shape[axis + 1 :]]
        means = fine.reshape(shape).mean(axis=axis + 1)
    return means


def decibels(one: np.ndarray, other: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of two pictures."""
    return 10 * math.log10(255**2 / float(((one - other) ** 2).mean()))


SHAPES = [
    ((8, 6), (4, 3)),
    ((7, 5), (3, 2)),
    ((9, 4), (9, 4)),
    ((13, 11), (5, 11)),
    ((6, 1), (1, 1)),
]


def test_each_pixel_is_the_mean_of_its_area(modules: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    cases, expected = [], []
    for (width, height), (new_width, new_height) in SHAPES:
        rgba = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
        size = {"width": new_width, "height": new_height}
        cases.append([rgba.flatten().tolist(), width, height, size])
        expected.append(area_average(rgba[:, :, :3], new_width, new_height))
    for found, means in zip(modules("io/shrink", AVERAGE, cases), expected, strict=True):
        rgba = np.array(found).reshape(*means.shape[:2], 4)
        assert np.abs(rgba[:, :, :3] - means).max() <= 0.51
        assert (rgba[:, :, 3] == 255).all()


@pytest.fixture(params=["chromium", "firefox"])
def run(request: pytest.FixtureRequest, url: str) -> Callable[..., Any]:
    """`run(expression)` in the page, in both browsers; its camera shows what the test wants."""
    script = CANVAS_CAMERA + KEEP_FORMS
    if request.param == "firefox":
        run_in_tab: Callable[..., Any] = request.getfixturevalue("open_tab")(url, script).run
        return run_in_tab
    page = request.getfixturevalue("open_page")(url, init_script=script)
    run_in_page: Callable[..., Any] = page.evaluate
    return run_in_page


def test_printed_page_in_a_shaking_hand_is_captioned_once_and_sent_whole(run):
    page = printed_page()
    run(f"testCamera.show('{data_url(page)}')")
    run(f"testCamera.shake({HAND_PX})")
    run("document.querySelector('#start').click()")
    wait = f"new Promise((resolve) => setTimeout(resolve, {1000 * SHAKING_S}))"
    run(wait)
    assert 1 <= run("window.sentForms.length") <= 2
    run("testCamera.shake(0)")
    run("new Promise((resolve) => setTimeout(resolve, 500))")
    # A new start sends a picture at once.
    for _ in range(2):
        before = run("window.sentForms.length")
        run("document.querySelector('#start').click()")
    while run("window.sentForms.length") == before:
        run("new Promise((resolve) => setTimeout(resolve, 50))")
    sent = Image.open(io.BytesIO(bytes(run(LAST_IMAGE))))
    assert sent.size == SENT_SIZE
    expected = area_average(np.asarray(page), *SENT_SIZE)
    assert decibels(np.asarray(sent.convert("RGB"), dtype=float), expected) >= MIN_DB


# Noise in place of pixels, as hardened browsers and extensions give; `falsify = false` allows them.
FALSIFY = """
  delete window.OffscreenCanvas;
  window.falsify = true;
  const read = CanvasRenderingContext2D.prototype.getImageData;
  CanvasRenderingContext2D.prototype.getImageData = function (...area) {
    const pixels = read.apply(this, area);
    if (window.falsify) pixels.data.forEach((_, at) => (pixels.data[at] = (at * 7919) % 256));
    return pixels;
  };
"""
FALSIFY_JPEG = """
  delete window.OffscreenCanvas;
  window.falsify = true;
  const write = HTMLCanvasElement.prototype.toBlob;
  HTMLCanvasElement.prototype.toBlob = function (...options) {
    const context = this.getContext("2d");
    context.fillStyle = "black";
    if (window.falsify) context.fillRect(0, 0, this.width, this.height);
    return write.apply(this, options);
  };
"""


@pytest.mark.parametrize("script", [FALSIFY, FALSIFY_JPEG], ids=["pixels", "jpeg"])
def test_falsified_pictures_are_not_captioned_until_they_are_allowed(
    open_page, url, still_camera, script
):
    page = open_page(url, still_camera, init_script=script + KEEP_FORMS)
    press_start(page)
    expect(page.locator(".notice")).to_have_attribute("data-notice", "frame-falsified")
    assert page.evaluate("window.sentForms.length") == 0
    page.evaluate("window.falsify = false")
    # The page may have tried again by itself, and the notice be gone.
    page.locator(".notice [data-action=retry]").dispatch_event("click")
    wait_for_caption(page)
    expect(page.locator(".notice")).to_be_hidden()


def test_pixels_that_differ_in_their_last_bits_are_captioned(open_page, url, still_camera):
    slightly = FALSIFY.replace("(at * 7919) % 256", "pixels.data[at] ^ 1")
    page = open_page(url, still_camera, init_script=slightly)
    press_start(page)
    wait_for_caption(page)
