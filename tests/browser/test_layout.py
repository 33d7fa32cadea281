"""The page at eight window sizes, with each panel: all is in reach, and the picture is whole."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from controls import SIZES, assert_controls_fit, assert_picture_is_whole
from page_actions import start

OPENERS = ("#open-history", "#open-ask", "#open-voice", "#open-preferences")


@pytest.mark.parametrize("half", [SIZES[:4], SIZES[4:]], ids=["low", "high"])
def test_everything_fits_at_every_size_with_every_panel(open_page, url, still_camera, half):
    page = open_page(url, still_camera)
    start(page)

    def assert_fits(size: tuple[int, int], state: str) -> None:
        try:
            assert_controls_fit(page)
            assert_picture_is_whole(page)
        except AssertionError as error:
            raise AssertionError(f"{size}, {state}: {error}") from error

    for size in half:
        page.set_viewport_size({"width": size[0], "height": size[1]})
        assert_fits(size, "live")
        for opener in OPENERS:
            page.locator(opener).click()
            assert_fits(size, opener)
            page.locator(opener).click()
        page.locator("#question-text").fill("What is this?")
        assert_fits(size, "a typed question")
        page.keyboard.press("Enter")
        expect(page.locator(".turn-answer").last).not_to_be_empty()
        assert_fits(size, "frozen, with an answer")
        page.locator("#freeze").click()
        expect(page.locator("#stage")).not_to_have_attribute("data-frozen", "")
