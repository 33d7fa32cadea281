"""The page by keyboard and by touch."""

from __future__ import annotations

import json

import pytest
from controls import DESKTOP, PHONE, SMALL_PHONE, assert_within_reach
from person import is_running, press_start, start, wait_for_caption
from playwright.sync_api import Page, expect


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))


def test_everything_at_hand_is_reached_by_tab_and_seen_when_it_is(open_page, url, still_camera):
    page = open_page(url, still_camera)
    expect(page.locator("#prompt option")).not_to_have_count(1)
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(focused(page))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
    assert reached == ["start", "prompt", "camera", "open-history", "open-preferences"]


def test_start_and_stop_by_keyboard(open_page, url, still_camera):
    page = open_page(url, still_camera)
    page.locator("#start").focus()
    page.keyboard.press("Enter")
    wait_for_caption(page)
    page.keyboard.press("Space")
    assert not is_running(page)
    page.keyboard.press("s")
    assert is_running(page)


@pytest.mark.parametrize(
    ("key", "panel", "opener"),
    [("h", "history", "open-history"), (",", "preferences", "open-preferences")],
)
def test_a_panel_takes_the_focus_and_gives_it_back(
    open_page, url, still_camera, key, panel, opener
):
    page = open_page(url, still_camera)
    page.keyboard.press(key)
    expect(page.locator(f"#{panel}")).to_be_visible()
    assert focused(page) == f"{panel}-title"
    expect(page.locator(f"#{opener}")).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(page.locator(f"#{panel}")).to_be_hidden()
    assert focused(page) == opener


def test_the_listed_shortcuts_do_what_they_say(open_page, url, still_camera):
    page = open_page(url, still_camera)
    page.keyboard.press("m")
    expect(page.locator("#video")).to_have_attribute("data-mirror", "")
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("-")
    page.keyboard.press(",")
    expect(page.locator("[name=captionScale]")).to_have_value("1.1")
    listed = page.locator("#keys dt").all_text_contents()
    assert listed == ["S", "M", "+", "-", "H", ",", "Esc"]


def test_typing_a_question_presses_no_shortcut(open_page, url, still_camera):
    page = open_page(url, still_camera)
    expect(page.locator("#prompt option")).not_to_have_count(1)
    page.locator("#prompt").select_option("own")
    page.keyboard.type("smh, +-")
    assert not is_running(page)
    assert page.locator("#history").is_hidden()
    expect(page.locator("#own-prompt")).to_have_value("smh, +-")


def test_shortcuts_can_be_switched_off_and_leave_the_browsers_own_alone(
    open_page, url, still_camera
):
    page = open_page(url, still_camera)
    page.keyboard.press("Control+m")
    expect(page.locator("#video")).not_to_have_attribute("data-mirror", "")
    page.keyboard.press(",")
    page.get_by_label("Single-key shortcuts").uncheck()
    page.keyboard.press("s")
    assert not is_running(page)
    page.keyboard.press("Escape")
    expect(page.locator("#preferences")).to_be_hidden()


@pytest.mark.parametrize("size", [PHONE, SMALL_PHONE, DESKTOP], ids=["phone", "small", "desktop"])
def test_every_control_can_be_hit_and_none_is_cut_off(open_page, url, still_camera, size):
    page = open_page(url, still_camera, **size)
    start(page)
    for panel in (None, "history", "preferences"):
        if panel:
            page.locator(f"#open-{panel}").click()
        assert_within_reach(page)


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_long_caption_keeps_to_its_lines_and_clear_of_the_controls(
    open_page, url, still_camera, size
):
    page = open_page(url, still_camera, **size)
    words = "A rather long caption about many things " * 6
    done = {"text": words, "finish_reason": "stop", "stats": {}}
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


def test_controls_step_back_while_nobody_touches_them_and_come_again(open_page, url, still_camera):
    page = open_page(url, still_camera, own_clock=True)
    start(page)
    stage = page.locator("#stage")
    expect(stage).not_to_have_attribute("data-quiet", "")
    page.clock.fast_forward(6_000)
    expect(stage).to_have_attribute("data-quiet", "")
    page.mouse.move(200, 200)
    expect(stage).not_to_have_attribute("data-quiet", "")
    page.locator("#start").focus()
    page.keyboard.press("Tab")
    page.clock.fast_forward(20_000)
    expect(stage).not_to_have_attribute("data-quiet", "")


def test_a_tap_that_brings_the_controls_back_presses_none_of_them(open_page, url, still_camera):
    page = open_page(url, still_camera, own_clock=True, **PHONE)
    page.locator("#start").tap()
    wait_for_caption(page)
    page.clock.fast_forward(6_000)
    expect(page.locator("#stage")).to_have_attribute("data-quiet", "")
    page.locator("#start").tap()
    expect(page.locator("#stage")).not_to_have_attribute("data-quiet", "")
    assert is_running(page)
    page.locator("#start").tap()
    assert not is_running(page)
