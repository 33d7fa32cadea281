"""The page in use, with a real server and the bundled model."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, Request, expect

from fake_camera import FRAMES_PER_S, write_camera_file
from known_scenes import plain_scenes
from page_actions import (
    KEEP_FORMS,
    NEXT_FRAME,
    choose_camera,
    press_start,
    start,
    wait_for_caption,
)

SOME_WORDS = re.compile(r"\S")
READ_FORM = """async (index) => {
  const fields = {};
  for (const [name, value] of window.sentForms[index]) {
    fields[name] = value instanceof Blob ? [...new Uint8Array(await value.arrayBuffer())] : value;
  }
  return fields;
}"""

# The colours of the left and the right half of the last frame.
LAST_PIXELS = """() => {
  const canvas = document.querySelector("#last-frame");
  const at = (x) => canvas.getContext("2d").getImageData(canvas.width * x, 40, 1, 1).data;
  return [at(0.25), at(0.75)].map(([red, , blue]) => (red > blue ? "red" : "blue"));
}"""


class Sent:
    """The frames that a page sends: their number, the number in flight, and their contents."""

    def __init__(self, page: Page) -> None:
        self.count = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self._page = page
        page.on("request", self._begin)
        page.on("requestfinished", self._end)
        page.on("requestfailed", self._end)

    def _begin(self, request: Request) -> None:
        if request.method == "POST":
            self.count += 1
            self.in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self.in_flight)

    def _end(self, request: Request) -> None:
        self.in_flight -= request.method == "POST"

    def wait_for(self, count: int) -> None:
        """Wait until `count` frames have been sent since the page was opened."""
        while self.count < count:
            self._page.wait_for_event("request", lambda request: request.method == "POST")

    def form(self, index: int) -> dict[str, Any]:
        """Return the fields of one request, with the image as bytes."""
        fields: dict[str, Any] = self._page.evaluate(READ_FORM, index)
        return fields | {"image": bytes(fields["image"])}

    def image(self, index: int) -> Image.Image:
        image = Image.open(io.BytesIO(self.form(index)["image"]))
        assert image.format == "JPEG"
        return image.convert("RGB")


def entries(page: Page) -> list[str]:
    return page.locator(".history-text").all_text_contents()


@pytest.fixture(scope="module")
def moving_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera on a scene that changes three times a second."""
    images = [Image.new("RGB", (640, 480), (30, 30, 40)) for _ in range(8)]
    for index, image in enumerate(images):
        image.paste((230, 200, 40), (index * 80, 100, index * 80 + 80, 380))
    file = tmp_path_factory.mktemp("camera") / "moving.mjpeg"
    return write_camera_file(file, [(one, 10) for one in images])


# -- captions --


def test_caption_names_the_scene_and_follows_its_changes(open_page, url, tmp_path):
    (first, first_name), (second, second_name) = islice(plain_scenes(), 2)
    scenes = [(first, 3 * FRAMES_PER_S), (second, 3 * FRAMES_PER_S)]
    page = open_page(url, write_camera_file(tmp_path / "scenes.mjpeg", scenes))
    press_start(page)
    for name in (first_name, second_name, first_name):
        expect(page.locator("#caption")).to_contain_text(name, ignore_case=True)


def test_one_frame_is_in_flight_at_a_time(open_page, url, moving_camera):
    page = open_page(url, moving_camera)
    sent = Sent(page)
    start(page)
    sent.wait_for(5)
    assert sent.max_in_flight == 1


def test_unchanged_scene_is_sent_again_after_ten_seconds(open_page, url, still_camera):
    page = open_page(url, still_camera, own_clock=True)
    sent = Sent(page)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    press_start(page)

    def advance_clock(until: Callable[[float], bool]) -> float:
        now_ms = float(page.evaluate("performance.now()"))
        while not until(now_ms):
            page.clock.run_for(100)
            # Without new frames the page would take the camera for stopped, and open it again.
            page.evaluate(NEXT_FRAME)
            now_ms = float(page.evaluate("performance.now()"))
        return now_ms

    advance_clock(lambda _: sent.count > 0)
    wait_for_caption(page)
    # A camera's first frame may differ from the next ones, and then two are sent.
    chip = page.locator("#chip")
    advance_clock(lambda _: "unchanged" in (chip.text_content() or ""))
    so_far = sent.count
    unchanged_ms = float(page.evaluate("performance.now()"))
    heartbeat_ms = advance_clock(lambda _: sent.count > so_far)
    assert heartbeat_ms >= unchanged_ms + 8_000
    advance_clock(lambda now_ms: now_ms >= heartbeat_ms + 9_800)
    assert sent.count == so_far + 1


def test_stop_closes_the_camera_and_keeps_the_caption(open_page, url, still_camera):
    page = open_page(url, still_camera)
    start(page)
    page.evaluate("window.track = document.querySelector('video').srcObject.getVideoTracks()[0]")
    press_start(page)
    expect(page.locator("#chip")).to_contain_text("Stopped, the camera is off")
    expect(page.locator(".chip-time")).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
    expect(page.locator("#last-frame")).to_be_visible()
    assert page.evaluate(LAST_PIXELS) == ["red", "blue"]
    assert page.evaluate("window.track.readyState") == "ended"
    assert page.evaluate("document.querySelector('video').srcObject") is None
    expect(page.locator("#caption")).to_have_text(SOME_WORDS)


# -- frames --


def test_frames_have_the_servers_size_and_are_compressed_in_a_worker(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    start(page)
    status = page.evaluate("fetch('/api/status').then((response) => response.json())")
    assert max(sent.image(0).size) == status["frame_size_px"]
    fields = sent.form(0)
    assert fields["prompt"] == status["presets"][0]["prompt"]
    assert re.fullmatch(r"page-[0-9a-f]{16}", fields["camera"])
    assert [worker.url for worker in page.workers] == [f"{url}static/js/io/encoder-worker.js"]


def test_small_frame_is_not_scaled_up(open_page, url, tmp_path):
    camera = write_camera_file(
        tmp_path / "small.mjpeg", [(Image.new("RGB", (160, 120), "grey"), 2)]
    )
    page = open_page(url, camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    start(page)
    assert sent.image(0).size == (160, 120)


def test_mirroring_changes_only_the_display(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    assert page.evaluate("getComputedStyle(video).transform") == "none"
    page.keyboard.press("m")
    assert page.evaluate("getComputedStyle(video).transform") == "matrix(-1, 0, 0, 1, 0, 0)"
    start(page)
    image = sent.image(0)
    left, right = (image.getpixel((int(image.width * x), 40)) for x in (0.25, 0.75))
    # Red on the left and blue on the right, as the camera has it.
    assert left[0] > 150 > left[2]
    assert right[2] > 150 > right[0]


def test_lower_jpeg_quality_sends_fewer_bytes(open_page, url, moving_camera):
    page = open_page(url, moving_camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    page.locator("#open-preferences").click()
    sizes = []
    for quality in ("0.95", "0.4"):
        page.locator("[name=jpegQuality]").fill(quality)
        before = sent.count
        press_start(page)
        sent.wait_for(before + 1)
        sizes.append(len(sent.form(before)["image"]))
        press_start(page)
    assert sizes[1] < sizes[0]


def test_old_browser_compresses_on_the_main_thread(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=f"delete window.OffscreenCanvas; {KEEP_FORMS}")
    sent = Sent(page)
    start(page)
    assert page.workers == []
    assert sent.image(0).width > 1


# -- settings --


def test_new_prompt_sends_a_new_frame_at_once(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    start(page)
    preset = page.locator("#prompt option").nth(1).get_attribute("value")
    before = sent.count
    page.locator("#prompt").select_option(preset)
    sent.wait_for(before + 1)
    assert sent.form(before)["prompt"] != sent.form(0)["prompt"]
    for _ in range(2):
        before = sent.count
        page.locator("#question-text").fill("What is this?")
        page.keyboard.press("Control+Enter")
        sent.wait_for(before + 1)
        assert sent.form(sent.count - 1)["prompt"] == "What is this?"
    expect(page.locator("#prompt option:checked")).to_have_text("“What is this?”")
    expect(page.locator("#asked")).to_have_text("What is this?")


def test_settings_are_stored_and_captions_only_for_the_tab(open_page, url, still_camera):
    page = open_page(url, still_camera)
    start(page)
    caption = page.locator("#caption").text_content()
    page.locator("#open-preferences").click()
    page.get_by_role("switch", name="Mirror the picture").check()
    page.get_by_label("Dark", exact=True).check()
    page.locator("[name=captionScale]").fill("1.5")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.locator("#open-preferences").click()
    expect(page.get_by_role("switch", name="Mirror the picture")).to_be_checked()
    expect(page.locator("[name=captionScale]")).to_have_value("1.5")
    assert caption.strip() not in page.evaluate("JSON.stringify({ ...localStorage })")
    expect(page.locator("#caption")).to_have_text("")
    assert page.context.new_page().goto(page.url)
    assert entries(page.context.pages[-1]) == []


def test_another_camera_can_be_selected(open_page, url):
    two = "--use-fake-device-for-media-stream=device-count=2"
    page = open_page(url, flags=(two,))
    start(page)
    options = page.locator("#camera option")
    expect(options).to_have_count(2)
    track = "document.querySelector('video').srcObject?.getVideoTracks()[0]"
    for index in (1, 0):
        selected = options.nth(index).get_attribute("value")
        choose_camera(page, str(selected))
        expect(page.locator("#stage")).to_have_attribute("data-live", "")
        expect(page.locator("#camera")).to_have_value(selected)
        assert page.evaluate(f"{track}.getSettings().deviceId") == selected


def test_kiosk_starts_by_itself_and_its_controls_fade(open_page, url, still_camera):
    page = open_page(f"{url}?kiosk", still_camera, own_clock=True)
    wait_for_caption(page)
    expect(page.locator("#app")).to_have_attribute("data-full", "")
    words, dock = page.locator("#overlay"), page.locator("#dock")
    low = words.bounding_box()["y"]
    page.clock.run_for(8_000)
    expect(dock).to_have_css("opacity", "0")
    # The words sink to where the controls were.
    assert words.bounding_box()["y"] > low
    page.mouse.move(200, 200)
    page.mouse.move(210, 210)
    expect(dock).to_have_css("opacity", "1")
