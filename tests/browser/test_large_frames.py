"""Large frames and pictures, sent by a browser as forms, are not refused."""

from __future__ import annotations

import base64
import random

import pytest
from PIL import Image

from fake_camera import write_camera_file
from many_pictures import FIELDS, SLOW, assert_same, line_ends, noise, photographs
from page_actions import start, url_of
from web_client import SightlineProcess

LARGE_BYTES = 300_000
FRAMES = 4
# Of each kind of picture: a browser takes seconds for the larger ones.
QUICK = 6

# The page sends small frames to the bundled model. This status asks it for the larger frames of
# other models. The size of each frame is recorded with the status of its answer.
SEND_LARGE_FRAMES = """
  window.sentFrames = [];
  const send = window.fetch;
  window.fetch = async (address, options) => {
    const answer = await send(address, options);
    if (options?.body instanceof FormData) {
      window.sentFrames.push([options.body.get("image").size, answer.status]);
    }
    if (!String(address).endsWith("/api/status") || !answer.ok) return answer;
    const status = await answer.json();
    if (status.frame_size_px) status.frame_size_px = 2048;
    return new Response(JSON.stringify(status), answer);
  };
"""
SEND_FORM = """async ([fields, picture]) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  const bytes = Uint8Array.from(atob(picture), (char) => char.charCodeAt(0));
  form.append("image", new Blob([bytes]), "picture");
  const answer = await fetch("/api/captions", { method: "POST", body: form });
  return await answer.text();
}"""


def dark_or_light(number: int) -> Image.Image:
    """Noise about a brightness that changes, or the page would find each frame like the last."""
    width, height = 1280, 720
    pixels = random.Random(number).randbytes(3 * width * height)
    noise_picture = Image.frombytes("RGB", (width, height), pixels)
    flat = Image.new("RGB", (width, height), (40, 40, 40) if number % 2 else (215, 215, 215))
    return Image.blend(flat, noise_picture, 0.6)


def test_large_frames_of_the_page_are_captioned(open_page, url, tmp_path):
    camera = write_camera_file(tmp_path / "noise.mjpeg", [(dark_or_light(n), 5) for n in range(8)])
    page = open_page(url, camera, init_script=SEND_LARGE_FRAMES)
    page.locator("#open-preferences").click()
    page.locator("[name=jpegQuality]").fill("1")
    page.keyboard.press("Escape")
    start(page)
    page.wait_for_function("(count) => window.sentFrames.length >= count", arg=FRAMES)
    frames = page.evaluate("window.sentFrames")
    assert [status for _, status in frames] == [200] * len(frames)
    assert min(size_bytes for size_bytes, _ in frames) >= LARGE_BYTES


@pytest.fixture(scope="module")
def without_finder():
    """Without the object finder the captions of noise differ and come quickly."""
    with SightlineProcess(("--model", "nano", "--detector", "none")) as process:
        process.wait_until_ready()
        yield process


@pytest.mark.parametrize("count", [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["photographs", "noise", "line ends"])
def test_each_picture_gets_its_caption(open_page, without_finder, request, kind, count):
    page = open_page(url_of(without_finder))

    def send(picture: bytes) -> str:
        return page.evaluate(SEND_FORM, [FIELDS, base64.b64encode(picture).decode()])

    if kind == "photographs":
        pictures = photographs(request.getfixturevalue("shared_dir") / "photos", count)
    else:
        pictures = noise(count) if kind == "noise" else line_ends(count)
    assert_same(without_finder.port, send, pictures)
