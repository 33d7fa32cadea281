"""The page by keyboard and by touch, on small and large screens."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Page, expect

from controls import DESKTOP, PHONE, SMALL_PHONE, assert_controls_fit
from page_actions import is_running, press_start, start, wait_for_caption


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))


def test_tab_reaches_all_controls_with_a_visible_focus(open_page, url, still_camera):
    page = open_page(url, still_camera)
    expect(page.locator("#prompt option")).not_to_have_count(1)
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(focused(page))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
    panels = ["open-history", "open-voice", "open-preferences"]
    assert reached == ["start", "prompt", "camera", *panels]


def test_keyboard_starts_and_stops_captions(open_page, url, still_camera):
    page = open_page(url, still_camera)
    page.locator("#start").focus()
    page.keyboard.press("Enter")
    wait_for_caption(page)
    page.keyboard.press("Space")
    assert not is_running(page)
    page.keyboard.press("s")
    assert is_running(page)


def test_panel_takes_the_focus_and_returns_it(open_page, url, still_camera):
    page = open_page(url, still_camera)
    for key, panel in (("h", "history"), (",", "preferences")):
        page.keyboard.press(key)
        expect(page.locator(f"#{panel}")).to_be_visible()
        assert focused(page) == f"{panel}-title"
        expect(page.locator(f"#open-{panel}")).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("Escape")
        expect(page.locator(f"#{panel}")).to_be_hidden()
        assert focused(page) == f"open-{panel}"


def test_shortcuts_work_as_listed(open_page, url, still_camera):
    page = open_page(url, still_camera)
    page.keyboard.press("m")
    expect(page.locator("#video")).to_have_attribute("data-mirror", "")
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("-")
    page.keyboard.press(",")
    expect(page.locator("[name=captionScale]")).to_have_value("1.1")
    listed = page.locator("#keys dt").all_text_contents()
    assert listed == ["S", "M", "B", "V", "N", "R", "D", "+", "-", "H", ",", "Esc"]


def test_typing_a_question_triggers_no_shortcut(open_page, url, still_camera):
    page = open_page(url, still_camera)
    expect(page.locator("#prompt option")).not_to_have_count(1)
    page.locator("#prompt").select_option("own")
    page.keyboard.type("smh, +-")
    assert not is_running(page)
    assert page.locator("#history").is_hidden()
    expect(page.locator("#own-prompt")).to_have_value("smh, +-")


def test_shortcuts_can_be_switched_off_and_ignore_modifier_keys(open_page, url, still_camera):
    page = open_page(url, still_camera)
    page.keyboard.press("Control+m")
    expect(page.locator("#video")).not_to_have_attribute("data-mirror", "")
    page.keyboard.press(",")
    page.get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("s")
    assert not is_running(page)
    page.keyboard.press("Escape")
    expect(page.locator("#preferences")).to_be_hidden()


@pytest.mark.parametrize("sizes", [(PHONE, SMALL_PHONE), (DESKTOP,)], ids=["phones", "desktop"])
def test_controls_fit_on_every_screen(open_page, url, still_camera, sizes):
    page = open_page(url, still_camera, **sizes[0])
    start(page)
    for size in sizes:
        page.set_viewport_size(size["viewport"])
        assert_controls_fit(page)
        for panel in ("history", "voice", "preferences"):
            page.locator(f"#open-{panel}").click()
            assert_controls_fit(page)
        page.keyboard.press("Escape")


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_long_caption_keeps_clear_of_the_controls(open_page, url, still_camera, size):
    page = open_page(url, still_camera, **size)
    text = "A rather long caption about many things " * 6
    done = {"text": text, "finish_reason": "stop", "stats": {}}
    events = f"event: done\ndata: {json.dumps(done)}\n\n"
    page.route(
        "**/api/captions",
        lambda route: route.fulfill(body=events, content_type="text/event-stream"),
    )
    press_start(page)
    expect(page.locator("#caption")).to_contain_text("many things")
    overlay = page.locator("#overlay").bounding_box()
    dock = page.locator("#dock").bounding_box()
    assert overlay["y"] + overlay["height"] <= dock["y"]
    assert overlay["x"] >= 0 and overlay["x"] + overlay["width"] <= size["viewport"]["width"]
    lines = page.evaluate(
        "() => overlay.offsetHeight / parseFloat(getComputedStyle(overlay).lineHeight)"
    )
    assert lines < 4


def test_controls_fade_out_while_idle(open_page, url, still_camera):
    page = open_page(url, still_camera, own_clock=True)
    start(page)
    stage = page.locator("#stage")
    expect(stage).not_to_have_attribute("data-idle", "")
    page.clock.fast_forward(6_000)
    expect(stage).to_have_attribute("data-idle", "")
    page.mouse.move(200, 200)
    expect(stage).not_to_have_attribute("data-idle", "")
    page.locator("#start").focus()
    page.keyboard.press("Tab")
    page.clock.fast_forward(20_000)
    expect(stage).not_to_have_attribute("data-idle", "")


def test_tap_that_shows_the_controls_presses_none(open_page, url, still_camera):
    page = open_page(url, still_camera, own_clock=True, **PHONE)
    page.locator("#start").tap()
    wait_for_caption(page)
    page.clock.fast_forward(6_000)
    expect(page.locator("#stage")).to_have_attribute("data-idle", "")
    page.locator("#start").tap()
    expect(page.locator("#stage")).not_to_have_attribute("data-idle", "")
    assert is_running(page)
    page.locator("#start").tap()
    assert not is_running(page)
