"""Boxes over the picture: with a real server and the bundled detector, on photographs of things."""

from __future__ import annotations

import http.client
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from accessibility import assert_accessible_in_all_colours
from controls import DESKTOP, PHONE, assert_controls_fit
from fake_camera import write_camera_file
from page_actions import press_start, start, told
from photographs import photograph
from test_page import KEEP_FORMS, Sent
from web_client import JPEG, SightlineProcess

CAMERA_SIZE = (640, 480)
# The part of the picture that each photograph takes, x0, y0, x1, y1 in pixels.
PLACES = {"cat": (20, 270, 320, 470), "motorcycle": (250, 10, 620, 260)}
FILES = {"cat": "chelsea", "motorcycle": "motorcycle_left"}
# What whole pixels and the smoothing of still boxes may move a box by, on the screen.
NEAR_PX = 3
# Keeps the last answer that the page got.
KEEP_ANSWER = """
  const ask = window.fetch;
  window.fetch = async (address, options) => {
    const response = await ask(address, options);
    if (String(address).endsWith("/api/boxes")) {
      response.clone().json().then(({ boxes }) => { window.lastBoxes = boxes; }).catch(() => {});
    }
    return response;
  };
"""

RECTS = """(boxes) => boxes.map((box) => {
  const { left, top, right, bottom } = box.getBoundingClientRect();
  return [box.textContent, left, top, right, bottom];
})"""
# Counts sounds and keeps their pitch and volume.
FAKE_SOUND = """
  window.sounds = [];
  const param = () => ({ value: 0, setTargetAtTime(value) { this.value = value; } });
  window.AudioContext = class {
    currentTime = 0;
    state = "running";
    constructor() { window.sounds.push(this); }
    createOscillator() {
      this.frequency = param();
      return { frequency: this.frequency, connect: (to) => to, start() {} };
    }
    createGain() {
      this.gain = param();
      return { gain: this.gain, connect: (to) => to };
    }
  };
"""
SOUNDS = "window.sounds.map(({ frequency, gain }) => [frequency.value, gain.value])"


@pytest.fixture(scope="session")
def scene() -> Image.Image:
    """A cat at the bottom left and a motorcycle at the top right."""
    image = Image.new("RGB", CAMERA_SIZE, (120, 120, 120))
    for name, (x0, y0, x1, y1) in PLACES.items():
        image.paste(photograph(FILES[name]).resize((x1 - x0, y1 - y0)), (x0, y0))
    return image


@pytest.fixture(scope="session")
def things_camera(scene: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_camera_file(tmp_path_factory.mktemp("camera") / "things.mjpeg", [(scene, 2)])


@pytest.fixture(scope="session")
def answer(scene: Image.Image, ready_sightline: SightlineProcess) -> dict[str, list[float]]:
    """The boxes of the scene by their names, as the server returns them to any client."""
    data = io.BytesIO()
    scene.save(data, "JPEG", quality=95)
    connection = http.client.HTTPConnection("127.0.0.1", ready_sightline.port)
    connection.request("POST", "/api/boxes", data.getvalue(), JPEG)
    found = json.loads(connection.getresponse().read())["boxes"]
    connection.close()
    boxes = {one["name"]: one["box"] for one in found}
    assert set(boxes) == set(PLACES)
    return boxes


def show_boxes(page: Page) -> None:
    """Start, turn the boxes on by their key and wait for both."""
    start(page)
    page.keyboard.press("b")
    expect(page.locator(".box")).to_have_count(2)


def on_screen(page: Page, box: list[float], mirror: bool) -> list[float]:
    """Where a box lies in the window, on the picture's element."""
    rect = page.locator("#picture").bounding_box()
    assert rect
    x0, y0, x1, y1 = box
    if mirror:
        x0, x1 = 1 - x1, 1 - x0
    return [
        rect[start] + side * rect[size]
        for side, start, size in zip(
            (x0, y0, x1, y1), ("x", "y", "x", "y"), ("width", "height") * 2, strict=True
        )
    ]


def assert_boxes_lie(page: Page, mirror: bool) -> None:
    """Wait until each box lies where the last answer has it; the limit ends a broken test."""
    for _ in range(100):
        answered = {one["name"]: one["box"] for one in page.evaluate("window.lastBoxes")}
        expected = {name: on_screen(page, box, mirror) for name, box in answered.items()}
        found = {name: rect for name, *rect in page.locator(".box").evaluate_all(RECTS)}
        apart = [
            abs(one - other)
            for name, rect in expected.items()
            for one, other in zip(found.get(name, [1e9] * 4), rect, strict=True)
        ]
        if max(apart) <= NEAR_PX:
            return
        page.wait_for_timeout(100)
    raise AssertionError((found, expected))


def marks(page: Page) -> str:
    return page.locator(".marks-text").text_content() or ""


def stub_finder(page: Page, **finder: Any) -> None:
    """Change the `finder` of the status; the rest is the server's."""
    rest: dict[str, Any] = {}

    def answer_poll(route: Route) -> None:
        rest.update(rest or route.fetch().json())
        route.fulfill(json=rest | {"finder": rest["finder"] | finder})

    page.route("**/api/status", answer_poll)
    page.evaluate("window.dispatchEvent(new Event('online'))")


def stub_caption(page: Page, text: str, reason: str = "stop", **stats: Any) -> None:
    """Answer all further frames with this caption, which ended for `reason`."""
    done = {"text": text, "finish_reason": reason, "stats": stats}
    events = f"event: done\ndata: {json.dumps(done)}\n\n"
    page.route(
        "**/api/captions",
        lambda route: route.fulfill(body=events, content_type="text/event-stream"),
    )


# -- the boxes --


def test_server_finds_both_things_where_they_are(answer):
    for name, (x0, y0, x1, y1) in PLACES.items():
        left, top, right, bottom = (
            side * of for side, of in zip(answer[name], CAMERA_SIZE * 2, strict=True)
        )
        shared = max(0, min(x1, right) - max(x0, left)) * max(0, min(y1, bottom) - max(y0, top))
        whole = (x1 - x0) * (y1 - y0) + (right - left) * (bottom - top) - shared
        assert shared / whole > 0.6, name


def test_boxes_lie_on_their_things_in_every_layout(open_page, url, things_camera):
    page = open_page(url, things_camera, init_script=KEEP_ANSWER, **DESKTOP)
    show_boxes(page)
    for mirror, view in ((False, (1280, 800)), (True, (1280, 800)), (True, (700, 900))):
        page.set_viewport_size({"width": view[0], "height": view[1]})
        if (page.locator("#video").get_attribute("data-mirror") == "") != mirror:
            page.keyboard.press("m")
        assert_boxes_lie(page, mirror)


def test_boxes_are_switched_by_a_key_and_in_the_settings(open_page, url, things_camera):
    page = open_page(url, things_camera)
    start(page)
    expect(page.locator("#boxes")).to_be_hidden()
    expect(page.locator("#find")).to_be_hidden()
    page.keyboard.press("b")
    expect(page.locator(".box")).to_have_count(2)
    expect(page.locator("#find")).to_be_visible()
    page.keyboard.press(",")
    switch = page.get_by_role("switch", name="Boxes around things")
    expect(switch).to_be_checked()
    switch.uncheck()
    expect(page.locator(".box")).to_have_count(0)


def test_nothing_is_searched_while_boxes_are_off_or_captions_stopped(open_page, url, things_camera):
    page = open_page(url, things_camera)
    looks: list[str] = []
    page.on("request", lambda request: looks.append(request.url))
    start(page)
    assert not [one for one in looks if one.endswith("/api/boxes")]
    page.keyboard.press("b")
    expect(page.locator(".box")).to_have_count(2)
    press_start(page)
    expect(page.locator(".box")).to_have_count(0)
    looks.clear()
    page.wait_for_timeout(1000)
    assert not [one for one in looks if one.endswith("/api/boxes")]


def test_switch_says_why_there_are_no_boxes(open_page, url, still_camera):
    page = open_page(url, still_camera)
    reason = "The detector could not be loaded."
    stub_finder(page, detector=None, problem=reason)
    page.keyboard.press(",")
    switch = page.get_by_role("switch", name="Boxes around things")
    expect(switch).to_be_disabled()
    expect(page.locator("#boxes-problem")).to_have_text(reason)
    assert "boxes-problem" in (switch.get_attribute("aria-describedby") or "")
    page.keyboard.press("Escape")
    page.keyboard.press("b")
    stub_finder(page)
    page.keyboard.press(",")
    expect(switch).to_be_enabled()
    expect(switch).not_to_be_checked()


# -- asking about a thing --


def test_list_of_boxes_is_used_by_keyboard_and_asks_about_a_thing(
    open_page, url, things_camera, scene, answer
):
    page = open_page(url, things_camera, init_script=KEEP_FORMS)
    sent = Sent(page)
    show_boxes(page)
    names = ["a cat, bottom left", "a motorcycle, top right"]
    listed = page.get_by_role("list", name="Things in the picture").get_by_role("button")
    assert sorted(one.get_attribute("aria-label") or "" for one in listed.all()) == names
    page.locator("#open-preferences").focus()
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.getAttribute('aria-label')") != names[1]:
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".marks-text")).to_contain_text("About the motorcycle, top right.")
    forms = [sent.form(index) for index in range(page.evaluate("window.sentForms.length"))]
    (asked,) = [one for one in forms if one.get("kind") == "question"]
    expect(page.locator("#chip")).to_contain_text("Frozen")
    expect(page.locator("#part-box")).to_be_visible()
    expect(page.locator(".box")).to_have_count(0)
    assert "camera" not in asked
    part = Image.open(io.BytesIO(asked["image"])).convert("RGB")
    x0, y0, x1, y1 = answer["motorcycle"]
    x, y = 0.15 * (x1 - x0), 0.15 * (y1 - y0)
    region = (max(0, x0 - x), max(0, y0 - y), min(1, x1 + x), min(1, y1 + y))
    box = [round(side * of) for side, of in zip(region, CAMERA_SIZE * 2, strict=True)]
    assert part.width / part.height == pytest.approx((box[2] - box[0]) / (box[3] - box[1]), 0.05)
    # A small frame is shrunk sharply: compared are blocks of it.
    blocks = np.asarray(part.resize((12, 8), Image.Resampling.BOX), dtype=float)
    expected = np.asarray(scene.crop(tuple(box)).resize((12, 8), Image.Resampling.BOX), dtype=float)
    assert np.abs(blocks - expected).mean() < 8
    expect(told(page, "answer").first).to_contain_text("About the motorcycle, top right: ")
    note = page.locator(".history-note", has_text="About the motorcycle, top right")
    expect(note).to_have_count(1)
    # The panel, then the picture.
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("#chip")).to_contain_text("Live")
    expect(page.locator(".marks-text")).not_to_contain_text("About")
    page.locator(".box", has_text="cat").click()
    expect(page.locator(".turn-about")).to_have_text("Part: the cat, bottom left")
    expect(page.locator(".marks-text")).to_contain_text("About the cat, bottom left.")


# -- finding by name --


def test_thing_is_found_by_its_name(open_page, url, things_camera):
    page = open_page(url, things_camera)
    show_boxes(page)
    field = page.get_by_role("searchbox", name="Find a thing")
    told = page.locator("#find-status")
    assert told.get_attribute("role") == "status"
    field.fill("Find my motorbike")
    field.press("Enter")
    expect(told).to_have_text("Motorcycle: top right, about a fifth of the picture.")
    expect(page.locator(".box")).to_have_count(1)
    expect(page.locator(".box[data-found]")).to_have_text("motorcycle")
    field.fill("where are my keys?")
    field.press("Enter")
    expect(told).to_contain_text("The object finder does not know “keys”. It knows 80 things")
    expect(page.locator(".box")).to_have_count(2)
    field.fill("a banana")
    field.press("Enter")
    expect(told).to_have_text("Not in sight: “banana”.")
    field.fill("")
    field.press("Enter")
    expect(told).to_have_text("")


def test_tone_is_off_until_it_is_switched_on_and_ends_with_the_search(
    open_page, url, things_camera
):
    page = open_page(url, things_camera, init_script=FAKE_SOUND)
    show_boxes(page)
    page.locator("#find-words").fill("cat")
    page.keyboard.press("Enter")
    expect(page.locator(".box[data-found]")).to_have_count(1)
    assert page.evaluate(SOUNDS) == []
    page.get_by_role("button", name="Tone").click()
    expect(page.get_by_role("button", name="Tone")).to_have_attribute("aria-pressed", "true")
    ((pitch, volume),) = page.evaluate(SOUNDS)
    assert 220 < pitch < 880 and volume > 0
    page.evaluate(
        """() => {
          Object.defineProperty(document, "hidden", { value: true, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    ((_, volume),) = page.evaluate(SOUNDS)
    assert volume == 0


# -- marks --


def test_caption_says_who_made_it_and_what_the_finder_does_not_see(open_page, url, still_camera):
    page = open_page(url, still_camera)
    text = "A dog catches a frisbee."
    checks = [
        {"word": "dog", "name": "dog", "verdict": "found"},
        {"word": "frisbee", "name": "frisbee", "verdict": "not_found"},
    ]
    stub_caption(page, text, by="model", checks=checks)
    start(page)
    expect(page.locator(".marks-text")).to_have_text(
        "The object finder does not see “frisbee”; it sees “dog”."
    )
    expect(page.locator("#caption")).to_have_text(text)
    expect(told(page).first).to_have_text(text)
    marked = "[...CSS.highlights.get('caption-not-found')].map((range) => range.toString())"
    assert page.evaluate(marked) == ["frisbee"]
    page.unroute("**/api/captions")
    stub_caption(page, "Perhaps a kitchen.", by="finder")
    page.locator("#prompt").select_option(index=1)
    expect(page.locator(".marks-text")).to_contain_text("By the object finder")
    assert page.evaluate("CSS.highlights.has('caption-not-found')") is False
    assert page.locator(".history-note").all_text_contents() == ["Object finder"]


def test_page_says_that_a_caption_was_cut_in_a_loop(open_page, url, still_camera):
    page = open_page(url, still_camera)
    text = "A red circle. A red circle."
    stub_caption(page, text, "loop")
    start(page)
    marks_text = page.locator(".marks-text")
    expect(marks_text).to_have_text("The model repeated itself, so the answer was cut.")
    expect(page.locator("#caption")).to_have_text(text)
    expect(told(page).first).to_have_text(f"{text} (cut where it repeated itself)")
    assert page.locator(".history-note").all_text_contents() == ["Cut where it repeated itself"]
    page.unroute("**/api/captions")
    stub_caption(page, "A blue star.")
    page.locator("#prompt").select_option(index=1)
    expect(page.locator("#caption")).to_have_text("A blue star.")
    expect(marks_text).to_be_hidden()


# -- looks and access --


def test_page_with_boxes_is_accessible_and_fits(open_page, url, things_camera):
    page = open_page(url, things_camera, reduced_motion="reduce", **PHONE)
    show_boxes(page)
    page.locator("#find-words").fill("cat")
    page.keyboard.press("Enter")
    expect(page.locator(".box[data-found]")).to_have_count(1)
    page.locator(".box").press("Enter")
    expect(page.locator(".marks-text")).to_contain_text("About the cat")
    assert_controls_fit(page)
    assert_accessible_in_all_colours(page)
    page.locator("#open-preferences").click()
    assert_accessible_in_all_colours(page)
