"""The page's states under axe, and what a screen reader gets to hear."""

from __future__ import annotations

import pytest
from barriers import assert_accessible
from person import press_start, start
from playwright.sync_api import expect


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_of_the_page_has_a_weighty_barrier(open_page, url, still_camera, scheme):
    page = open_page(url, still_camera, color_scheme=scheme)
    expect(page.locator("#prompt option")).not_to_have_count(1)
    assert_accessible(page)
    start(page)
    assert_accessible(page)
    page.locator("#prompt").select_option("own")
    page.locator("#open-history").click()
    assert_accessible(page)
    page.locator("#open-preferences").click()
    assert_accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_failure_has_a_weighty_barrier(open_page, url, scheme):
    page = open_page(
        url, color_scheme=scheme, flags=("--use-fake-device-for-media-stream=device-count=0",)
    )
    press_start(page)
    expect(page.locator(".notice")).to_be_visible()
    assert_accessible(page)


def test_the_chosen_theme_wins_over_the_systems(open_page, url, still_camera):
    page = open_page(url, still_camera, color_scheme="light")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.locator("#open-preferences").click()
    page.get_by_label("Dark", exact=True).check()
    dark = page.evaluate(ground)
    assert dark != light
    page.emulate_media(color_scheme="dark")
    page.get_by_label("Light", exact=True).check()
    assert page.evaluate(ground) == light
    assert_accessible(page)


def test_screen_readers_hear_whole_captions_apart_from_the_words_on_the_screen(
    open_page, url, still_camera
):
    page = open_page(url, still_camera)
    heard = """() => {
      window.heard = [];
      new MutationObserver(() => window.heard.push(announcer.textContent))
        .observe(announcer, { childList: true, characterData: true, subtree: true });
    }"""
    page.evaluate(heard)
    press_start(page)
    expect(page.locator("#announcer")).not_to_be_empty()
    whole = [text.strip() for text in page.locator(".history-text").all_text_contents()]
    assert set(page.evaluate("window.heard")) <= set(whole)
    assert page.locator("#announcer").get_attribute("role") == "status"
    live = "[aria-live]:not([aria-live=off]), [role=status], [role=alert], [role=log]"
    assert page.evaluate("(live) => caption.closest(live)", live) is None


def test_nothing_moves_for_those_who_asked_for_that(open_page, url, still_camera):
    page = open_page(url, still_camera, reduced_motion="reduce")
    moving = """() => [...document.querySelectorAll("*")].filter((one) => {
      const { animationName, transitionDuration } = getComputedStyle(one);
      return animationName !== "none" || /[1-9]/.test(transitionDuration);
    }).map((one) => one.className)"""
    assert page.evaluate(moving) == []
