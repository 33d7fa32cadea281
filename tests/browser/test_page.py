"""The page as a person uses it, with the real server and the bundled model behind it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from fake_camera import FRAMES_PER_S, write_camera_file
from known_scenes import plain_scenes
from person import press_start, start, wait_for_caption
from PIL import Image
from playwright.sync_api import Page, Request, expect

SOME_WORDS = re.compile(r"\S")
# Playwright does not show a body that holds a file, so the page itself keeps what it sends.
KEEP_FORMS = """
  window.sentForms = [];
  const send = window.fetch;
  window.fetch = (address, options) => {
    if (options?.body instanceof FormData) window.sentForms.push(options.body);
    return send(address, options);
  };
"""
READ_FORM = """async (index) => {
  const fields = {};
  for (const [name, value] of window.sentForms[index]) {
    fields[name] = value instanceof Blob ? [...new Uint8Array(await value.arrayBuffer())] : value;
  }
  return fields;
}"""


class Sent:
    """The frames that a page sends: how many, how many at once, and what is in them."""

    def __init__(self, page: Page) -> None:
        self.count = 0
        self.under_way = 0
        self.most_under_way = 0
        self._page = page
        page.on("request", self._begin)
        page.on("requestfinished", self._end)
        page.on("requestfailed", self._end)

    def _begin(self, request: Request) -> None:
        if request.method == "POST":
            self.count += 1
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)

    def _end(self, request: Request) -> None:
        self.under_way -= request.method == "POST"

    def wait_for(self, count: int) -> None:
        """Returns when `count` frames have been sent since the page was opened."""
        while self.count < count:
            self._page.wait_for_event("request", lambda request: request.method == "POST")

    def form(self, index: int) -> dict[str, Any]:
        """The fields of one of the requests; a picture as its bytes."""
        fields: dict[str, Any] = self._page.evaluate(READ_FORM, index)
        return fields | {"image": bytes(fields["image"])}

    def picture(self, index: int) -> Image.Image:
        image = Image.open(io.BytesIO(self.form(index)["image"]))
        assert image.format == "JPEG"
        return image.convert("RGB")


def entries(page: Page) -> list[str]:
    return page.locator(".history-text").all_text_contents()


@pytest.fixture
def moving_camera(tmp_path: Path) -> Path:
    """A camera before a scene that is never the same for long."""
    pictures = [Image.new("RGB", (640, 480), (30, 30, 40)) for _ in range(8)]
    for index, picture in enumerate(pictures):
        picture.paste((230, 200, 40), (index * 80, 100, index * 80 + 80, 380))
    return write_camera_file(tmp_path / "moving.mjpeg", [(one, 10) for one in pictures])


# -- captions --


def test_the_page_reads_a_known_scene(open_page, url, tmp_path):
    picture, name = next(plain_scenes())
    page = open_page(url, write_camera_file(tmp_path / "scene.mjpeg", [(picture, 2)]))
    press_start(page)
    expect(page.locator("#caption")).to_contain_text(name, ignore_case=True)


def test_when_the_scene_changes_so_does_the_caption(open_page, url, tmp_path):
    (first, first_name), (second, second_name) = islice(plain_scenes(), 2)
    scenes = [(first, 6 * FRAMES_PER_S), (second, 6 * FRAMES_PER_S)]
    page = open_page(url, write_camera_file(tmp_path / "scenes.mjpeg", scenes))
    press_start(page)
    for name in (first_name, second_name, first_name):
        expect(page.locator("#caption")).to_contain_text(name, ignore_case=True)


def test_one_frame_is_under_way_at_a_time(open_page, url, moving_camera):
    page = open_page(url, moving_camera)
    sent = Sent(page)
    start(page)
    sent.wait_for(5)
    assert sent.most_under_way == 1


def test_a_steady_scene_is_sent_again_only_after_ten_seconds(open_page, url, still_camera):
    page = open_page(url, still_camera, own_clock=True)
    sent = Sent(page)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    press_start(page)

    def pass_time(until: Callable[[float], bool]) -> float:
        now_ms = float(page.evaluate("performance.now()"))
        while not until(now_ms):
            page.clock.run_for(50)
            now_ms = float(page.evaluate("performance.now()"))
        return now_ms

    pass_time(lambda _: sent.count > 0)
    wait_for_caption(page)
    # A camera's very first picture may differ from those that follow, and then two are sent.
    readout = page.locator("#readout")
    pass_time(lambda _: "unchanged" in (readout.text_content() or ""))
    so_far = sent.count
    unchanged_ms = float(page.evaluate("performance.now()"))
    heartbeat_ms = pass_time(lambda _: sent.count > so_far)
    assert heartbeat_ms >= unchanged_ms + 8_000
    pass_time(lambda now_ms: now_ms >= heartbeat_ms + 9_800)
    assert sent.count == so_far + 1


def test_stop_switches_the_camera_off_and_keeps_the_words(open_page, url, still_camera):
    page = open_page(url, still_camera)
    start(page)
    page.evaluate("window.track = document.querySelector('video').srcObject.getVideoTracks()[0]")
    press_start(page)
    expect(page.locator("#welcome")).to_contain_text("camera is off")
    assert page.evaluate("window.track.readyState") == "ended"
    assert page.evaluate("document.querySelector('video').srcObject") is None
    expect(page.locator("#caption")).to_have_text(SOME_WORDS)


# -- frames --


def test_frames_go_out_in_the_size_that_the_server_wants(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    start(page)
    wanted = page.evaluate("fetch('/api/status').then((answer) => answer.json())")
    assert max(sent.picture(0).size) == wanted["frame_size_px"]
    fields = sent.form(0)
    assert fields["prompt"] == wanted["presets"][0]["prompt"]
    assert re.fullmatch(r"page-[0-9a-f]{16}", fields["camera"])


def test_a_small_picture_is_not_made_larger(open_page, url, tmp_path):
    camera = write_camera_file(
        tmp_path / "small.mjpeg", [(Image.new("RGB", (160, 120), "grey"), 2)]
    )
    page = open_page(url, camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    start(page)
    assert sent.picture(0).size == (160, 120)


def test_the_screen_may_be_mirrored_but_never_the_frame(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    assert page.evaluate("getComputedStyle(video).transform") == "none"
    page.keyboard.press("m")
    assert page.evaluate("getComputedStyle(video).transform") == "matrix(-1, 0, 0, 1, 0, 0)"
    start(page)
    picture = sent.picture(0)
    left, right = (picture.getpixel((int(picture.width * x), 40)) for x in (0.25, 0.75))
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


def test_frames_are_compressed_off_the_main_thread(open_page, url, still_camera):
    page = open_page(url, still_camera)
    start(page)
    assert [worker.url for worker in page.workers] == [f"{url}static/js/io/encoder-worker.js"]


def test_an_older_browser_compresses_frames_by_itself(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=f"delete window.OffscreenCanvas; {KEEP_FORMS}")
    sent = Sent(page)
    start(page)
    assert page.workers == []
    assert sent.picture(0).width > 1


# -- what a person can set --


def test_another_question_is_asked_at_once_about_a_fresh_frame(open_page, url, still_camera):
    page = open_page(url, still_camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    start(page)
    preset = page.locator("#prompt option").nth(1).get_attribute("value")
    before = sent.count
    page.locator("#prompt").select_option(preset)
    sent.wait_for(before + 1)
    assert sent.form(before)["prompt"] != sent.form(0)["prompt"]
    page.locator("#prompt").select_option("own")
    expect(page.locator("#own-prompt")).to_be_focused()
    before = sent.count
    page.keyboard.type("What is this?")
    page.keyboard.press("Enter")
    sent.wait_for(before + 1)
    assert sent.form(sent.count - 1)["prompt"] == "What is this?"


def test_settings_are_remembered_and_captions_are_not(open_page, url, still_camera):
    page = open_page(url, still_camera)
    start(page)
    said = page.locator("#caption").text_content()
    page.locator("#open-preferences").click()
    page.get_by_label("Mirror the picture").check()
    page.get_by_label("Dark", exact=True).check()
    page.locator("[name=captionScale]").fill("1.5")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.locator("#open-preferences").click()
    expect(page.get_by_label("Mirror the picture")).to_be_checked()
    expect(page.locator("[name=captionScale]")).to_have_value("1.5")
    kept = page.evaluate("JSON.stringify({ ...localStorage, ...sessionStorage })")
    assert said.strip() not in kept
    expect(page.locator("#caption")).to_have_text("")
    assert entries(page) == []


def test_captions_of_the_session_can_be_copied_and_cleared(open_page, url, still_camera):
    page = open_page(url, still_camera, permissions=["clipboard-read", "clipboard-write"])
    start(page)
    page.locator("#open-history").click()
    press_start(page)
    expect(page.locator(".history-when").first).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))
    listed = entries(page)
    page.get_by_role("button", name="Copy all").click()
    expect(page.locator(".history-said")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in copied] == listed[::-1]
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".history-entry")).to_have_count(0)
    expect(page.locator(".history-empty")).to_be_visible()


def test_another_camera_can_be_chosen(open_page, url):
    two = "--use-fake-device-for-media-stream=device-count=2"
    page = open_page(url, flags=(two,))
    start(page)
    options = page.locator("#camera option")
    expect(options).to_have_count(2)
    used = "document.querySelector('video').srcObject?.getVideoTracks()[0].getSettings().deviceId"
    for index in (1, 0):
        wanted = options.nth(index).get_attribute("value")
        page.locator("#camera").select_option(wanted)
        expect(page.locator("#stage")).to_have_attribute("data-live", "")
        expect(page.locator("#camera")).to_have_value(wanted)
        assert page.evaluate(used) == wanted
