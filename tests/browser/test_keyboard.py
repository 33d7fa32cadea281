"""The page by keyboard and by touch, on small and large screens."""

from __future__ import annotations

import itertools
import json

import pytest
from playwright.sync_api import Page, expect

from controls import DESKTOP, PHONE
from page_actions import is_running, press_start, wait_for_caption


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.tagName"))


def test_tab_reaches_all_controls_with_a_visible_focus(open_page, url, still_camera):
    page = open_page(url, still_camera)
    expect(page.locator("#prompt option")).not_to_have_count(1)
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(focused(page))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"
    assert reached == [
        "open-source",
        "badge",
        "open-voice",
        "full-screen",
        "open-preferences",
        "try-sample",
        "open-file",
        "start",
        "prompt",
        "question-text",
        "open-history",
        "open-ask",
    ]


def test_keyboard_starts_and_stops_captions(open_page, url, still_camera):
    page = open_page(url, still_camera)
    page.locator("#start").focus()
    page.keyboard.press("Enter")
    wait_for_caption(page)
    # A press right after the start would be taken for its second half.
    page.wait_for_timeout(500)
    page.keyboard.press("Space")
    assert not is_running(page)
    page.keyboard.press("s")
    assert is_running(page)


def test_panel_takes_the_focus_and_returns_it(open_page, url, still_camera):
    page = open_page(url, still_camera)
    for key, panel, focus in (
        ("t", "history", "tab-history"),
        (",", "preferences", "preferences-title"),
    ):
        page.keyboard.press(key)
        expect(page.locator(f"#{panel}")).to_be_visible()
        assert focused(page) == focus
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
    listed = page.locator("#keys .key-button").all_text_contents()
    keys = ["S", "Space", "A", "←", "→", "P", "1-9", "M", "B", "V", "N", "R", "D"]
    assert listed == [*keys, "F", "+", "-", "T", "/", "E", ",", "Esc"]


def test_keys_can_be_changed_moved_and_switched_off(open_page, url, still_camera):
    page = open_page(url, still_camera)
    page.keyboard.press(",")
    rows = page.locator(".key-row")
    mirror = rows.filter(has_text="Mirror the picture")
    status = page.locator("#keys-status")
    mirror.locator("button").click()
    page.keyboard.press("s")
    expect(status).to_contain_text("S is the key of “Start or stop”")
    page.keyboard.press("x")
    expect(status).to_have_text("Mirror the picture: X")
    rows.filter(has_text="Timeline").first.locator("select").select_option("chord")
    rows.filter(has_text="Start or stop").locator("select").select_option("off")
    page.reload()
    video = page.locator("#video")
    page.keyboard.press("m")
    page.keyboard.press("s")
    page.keyboard.press("t")
    expect(video).not_to_have_attribute("data-mirror", "")
    assert not is_running(page)
    expect(page.locator("#history")).to_be_hidden()
    page.keyboard.press("x")
    expect(video).to_have_attribute("data-mirror", "")
    page.keyboard.press("Alt+Shift+t")
    expect(page.locator("#history")).to_be_visible()


def test_typing_a_question_triggers_no_shortcut(open_page, url, still_camera):
    page = open_page(url, still_camera)
    page.keyboard.press("a")
    expect(page.locator("#question-text")).to_be_focused()
    page.keyboard.type("smt/, +-")
    assert not is_running(page)
    assert page.locator("#history").is_hidden()
    expect(page.locator("#question-text")).to_have_value("smt/, +-")
    # Left with Escape, nothing is asked.
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    assert is_running(page)
    expect(page.locator("#ask-panel")).to_be_hidden()


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
    # With Alt and Shift they work all the same, in a text field too.
    page.locator("#question-text").focus()
    page.keyboard.press("Alt+Shift+s")
    assert is_running(page)
    expect(page.locator("#question-text")).to_have_value("")


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_long_caption_keeps_clear_of_the_controls(open_page, url, still_camera, size):
    page = open_page(url, still_camera, **size)
    text = "A rather long caption about many things " * 14
    done = {"text": text, "finish_reason": "stop", "stats": {}}
    events = f"event: done\ndata: {json.dumps(done)}\n\n"
    page.route(
        "**/api/captions",
        lambda route: route.fulfill(body=events, content_type="text/event-stream"),
    )
    press_start(page)
    expect(page.locator("#caption")).to_contain_text("many things")
    more = page.get_by_role("button", name="More")
    for _ in range(2):
        words = [page.locator(name).bounding_box() for name in ("#overlay", "#marks", "#dock")]
        for above, below in itertools.pairwise(words):
            assert above["y"] + above["height"] <= below["y"]
        assert words[0]["x"] >= 0
        assert words[0]["x"] + words[0]["width"] <= size["viewport"]["width"]
        assert page.evaluate("overlay.scrollTop") == 0
        if more.is_visible():
            more.click()
            expect(page.locator("#more")).to_have_text("Less")
    assert page.evaluate("overlay.scrollHeight - overlay.clientHeight") <= 1
