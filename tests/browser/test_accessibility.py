"""Accessibility: axe in every state, themes, screen readers, reduced motion."""

from __future__ import annotations

from playwright.sync_api import expect

from accessibility import (
    assert_accessible,
    assert_accessible_at_all_zooms,
    assert_accessible_in_all_colours,
)
from files_to_show import give, png_of, write_video
from known_scenes import plain_scenes
from page_actions import press_start, start, told


def test_every_state_of_the_page_is_accessible(open_page, url, still_camera):
    page = open_page(url, still_camera, reduced_motion="reduce")
    expect(page.locator("#prompt option")).not_to_have_count(1)
    assert_accessible_at_all_zooms(page)
    start(page)
    assert_accessible_at_all_zooms(page)
    page.locator("#open-history").click()
    assert_accessible_at_all_zooms(page)
    page.locator("#question-text").fill("What is this?")
    page.keyboard.press("Enter")
    expect(page.locator(".turn-answer")).not_to_be_empty()
    assert_accessible_at_all_zooms(page)
    page.locator("#open-preferences").click()
    assert_accessible_at_all_zooms(page)
    page.locator("#open-source").click()
    assert_accessible_at_all_zooms(page)


def test_a_video_and_pictures_are_accessible(open_page, url, still_camera, tmp_path):
    page = open_page(url, still_camera, reduced_motion="reduce")
    image = next(plain_scenes())[0]
    page.locator("#files").set_input_files(write_video(tmp_path / "clip.webm", [image], 1))
    expect(page.locator(".chip-text")).to_have_text("Video, at its end")
    assert_accessible_at_all_zooms(page)
    picture = ("a.png", "image/png", png_of(image))
    give(page, "paste", picture, picture, ("b.txt", "text/plain", b"no"))
    expect(page.locator(".notice")).to_be_visible()
    assert_accessible_at_all_zooms(page)


def test_failure_notice_is_accessible(open_page, url):
    no_camera = "--use-fake-device-for-media-stream=device-count=0"
    page = open_page(url, flags=(no_camera,), reduced_motion="reduce")
    press_start(page)
    expect(page.locator(".notice")).to_be_visible()
    assert_accessible_in_all_colours(page)


def test_chosen_theme_overrides_the_systems(open_page, url, still_camera):
    page = open_page(url, still_camera, color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.locator("#open-preferences").click()
    page.get_by_label("Dark", exact=True).check()
    dark = page.evaluate(background)
    assert dark != light
    page.emulate_media(color_scheme="dark")
    page.get_by_label("Light", exact=True).check()
    assert page.evaluate(background) == light
    assert_accessible(page)


def test_screen_readers_get_only_finished_captions(open_page, url, still_camera):
    page = open_page(url, still_camera)
    observe = """() => {
      window.announced = [];
      const regions = [...document.querySelectorAll("#said, #answer")];
      const read = () => window.announced.push(...regions.map((one) => one.textContent.trim()));
      for (const region of regions)
        new MutationObserver(read).observe(region, { childList: true, subtree: true });
    }"""
    page.evaluate(observe)
    press_start(page)
    expect(told(page, "answer")).not_to_have_count(0)
    finished = [text.strip() for text in page.locator(".history-text").all_text_contents()]
    announced = {text.removesuffix(" (unsure)") for text in page.evaluate("window.announced")}
    assert announced - {""} <= set(finished)
    regions = page.locator("#said, #answer, #news").all()
    assert [region.get_attribute("aria-live") for region in regions] == [
        *("polite", "assertive", "polite")
    ]
    live = "[aria-live]:not([aria-live=off]), [role=status], [role=alert], [role=log]"
    assert page.evaluate("(live) => caption.closest(live)", live) is None


def test_nothing_moves_with_reduced_motion(open_page, url, still_camera):
    page = open_page(url, still_camera, reduced_motion="reduce")
    moving = """() => [...document.querySelectorAll("*")].filter((one) => {
      const { animationName, transitionDuration } = getComputedStyle(one);
      return animationName !== "none" || /[1-9]/.test(transitionDuration);
    }).map((one) => one.className)"""
    assert page.evaluate(moving) == []
