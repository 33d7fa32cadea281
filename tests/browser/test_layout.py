"""The page at eight window sizes, with each panel: all is in reach, and the picture is whole."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from controls import SIZES, assert_controls_fit, assert_picture_is_whole
from files_to_show import give, png_of, write_video
from known_scenes import plain_scenes
from page_actions import start

OPENERS = ("#open-history", "#open-ask", "#open-voice", "#open-preferences", "#open-source")
LABELS = f"red star | {'long ' * 12}name\n{'W' * 80}"


def assert_fits(page: Page, size: tuple[int, int], state: str) -> None:
    try:
        assert_controls_fit(page)
        assert_picture_is_whole(page)
    except AssertionError as error:
        raise AssertionError(f"{size}, {state}: {error}") from error


@pytest.mark.parametrize("half", [SIZES[:4], SIZES[4:]], ids=["low", "high"])
def test_everything_fits_at_every_size_with_every_panel(open_page, url, still_camera, half):
    page = open_page(url, still_camera)
    start(page)
    # The bar has all of its buttons.
    page.keyboard.press("v")
    expect(page.locator("#say")).to_be_visible()
    for size in half:
        page.set_viewport_size({"width": size[0], "height": size[1]})
        assert_fits(page, size, "live")
        for opener in OPENERS:
            page.locator(opener).click()
            assert_fits(page, size, opener)
            page.locator(opener).click()
        page.keyboard.press("e")
        assert_fits(page, size, "explain")
        page.keyboard.press("e")
        page.locator("#question-text").fill("What is this?")
        assert_fits(page, size, "a typed question")
        page.keyboard.press("Enter")
        expect(page.locator(".turn-answer").last).not_to_be_empty()
        assert_fits(page, size, "frozen, with an answer")
        page.locator("#save-still").click()
        assert_fits(page, size, "frozen, with the menu to save")
        page.locator("#save-still").click()
        page.locator("#tab-explain").click()
        page.locator("#tab-explained").click()
        page.locator(".unit").first.click()
        assert_fits(page, size, "frozen, with words")
        page.locator("#tab-labels").click()
        page.locator("[name=labels]").fill(LABELS)
        page.locator(".labels-form [type=submit]").click()
        expect(page.locator("#labels .bar")).to_have_count(3)
        assert_fits(page, size, "frozen, with labels")
        page.locator(".aspects-ask").click()
        expect(page.locator(".aspect")).not_to_have_count(0)
        assert_fits(page, size, "frozen, with aspects")
        page.locator("#tab-where").click()
        page.locator(".where-phrase").fill(LABELS.split("\n", maxsplit=1)[0])
        page.locator(".where-ask").click()
        expect(page.locator(".where-clear")).to_be_visible()
        assert_fits(page, size, "frozen, with a place")
        page.locator("#tab-patches").click()
        page.locator(".patches-ask").click()
        expect(page.locator(".patches-choose")).to_be_visible()
        assert_fits(page, size, "frozen, with patches")
        page.locator("#tab-sides").click()
        page.locator("#sides [name=question]").fill("What colour is it?")
        page.locator(".sides-ask").click()
        expect(page.locator(".side")).to_have_count(2)
        assert_fits(page, size, "frozen, with two answers")
        page.locator("#tab-numbers").click()
        assert_fits(page, size, "frozen, with numbers")
        page.locator("#freeze").click()
        expect(page.locator("#stage")).not_to_have_attribute("data-frozen", "")


def test_what_plays_and_steps_fits_at_every_size(open_page, url, still_camera, tmp_path):
    scenes = plain_scenes()
    images = [next(scenes)[0] for _ in range(2)]
    page = open_page(url, still_camera)
    page.locator("#files").set_input_files(write_video(tmp_path / f"{'clip' * 40}.webm", images, 1))
    expect(page.locator(".chip-text")).to_have_text("Video, at its end")

    def assert_all_fit(state: str) -> None:
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            assert_fits(page, (width, height), state)
            page.locator("#open-history").click()
            assert_fits(page, (width, height), f"{state}, with a panel")
            page.locator("#open-history").click()

    assert_all_fit("a video")
    name = f"{'long' * 40}.png"
    give(page, "paste", *((name, "image/png", png_of(one)) for one in images))
    expect(page.locator(".player-count")).to_be_visible()
    assert_all_fit("pictures")
