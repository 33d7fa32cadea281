"""The picker and the card of a change: pressed, on screens of all sizes, and under axe."""

from __future__ import annotations

import re

import pytest
from barriers import assert_accessible
from controls import (
    DESKTOP,
    PHONE,
    PHONE_ON_ITS_SIDE,
    SMALL_PHONE,
    assert_within_reach,
)
from person import card, is_running, start
from playwright.sync_api import Page, expect
from told_models import SMALL, ToldModels, fetching, loading, problem

LONG_WORDS = "The hub could not be reached. Check the network, or the proxy in HTTPS_PROXY. "


def pick(page: Page, label: str):
    """A button of the list by what it says."""
    return page.locator("#models").get_by_role("button", name=label)


@pytest.fixture
def told_page(open_page, url, still_camera):
    """`told_page(**options)`: a page and the models that it is told of."""

    def open_(**options):
        page = open_page(f"{url}healthz", still_camera, **options)
        told = ToldModels(page)
        page.goto(url)
        expect(page.locator(".badge-text")).to_contain_text("nano on")
        return page, told

    return open_


# -- pressing --


def test_a_model_is_fetched_by_one_press_and_the_focus_stays(told_page):
    page, told = told_page()
    page.locator("#open-preferences").click()
    told.tell_when_asked(change=fetching())
    fetch = pick(page, "Fetch 513 MB SmolVLM 256M")
    fetch.focus()
    page.keyboard.press("Enter")
    card(page, "fetching")
    assert told.asked == [("switch", {"model": SMALL})]
    cancel = pick(page, "Cancel SmolVLM 256M")
    expect(cancel).to_be_focused()
    # One at a time: the others say why they wait, and pressing them does nothing.
    other = pick(page, "Use SmolVLM2 256M Video")
    expect(other).to_have_attribute("aria-disabled", "true")
    expect(other).to_have_accessible_description(re.compile("One model changes at a time"))
    other.click(force=True)
    told.tell_when_asked()
    cancel.click()
    card(page, "cancelled")
    assert [action for action, _ in told.asked] == ["switch", "cancel"]
    told.tell(SMALL)
    expect(page.locator(".model-title").nth(1)).to_be_focused()


def test_a_switch_that_is_refused_is_told_in_words(told_page):
    page, told = told_page()
    page.locator("#open-preferences").click()
    told.refusal = {"code": "switching", "message": "SmolVLM 500M is on its way already."}
    pick(page, "Fetch 513 MB").click()
    card(page, "refused")
    expect(page.locator(".model-card-text")).to_have_text("SmolVLM 500M is on its way already.")
    page.locator("#model-card").get_by_role("button", name="Dismiss").click()
    expect(page.locator("#model-card")).to_be_hidden()


def test_a_problem_is_tried_again_or_dismissed(told_page):
    page, told = told_page()
    told.tell(problem=problem())
    card(page, "problem")
    expect(page.locator("#announcer")).to_contain_text("was not fetched")
    told.tell_when_asked()
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#model-card")).to_be_hidden()
    told.tell(problem=problem())
    card(page, "problem")
    told.tell_when_asked(change=fetching())
    page.get_by_role("button", name="Try again").click()
    card(page, "fetching")
    assert told.asked == [("dismiss", {}), ("switch", {"model": SMALL})]


def test_a_tap_on_the_card_counts_while_the_controls_have_stepped_back(told_page):
    page, told = told_page(own_clock=True, **PHONE)
    start(page)
    told.tell(problem=problem())
    page.clock.fast_forward(12_000)
    card(page, "problem")
    expect(page.locator("#stage")).to_have_attribute("data-quiet", "")
    told.tell_when_asked()
    page.get_by_role("button", name="Dismiss").tap()
    expect(page.locator("#model-card")).to_be_hidden()
    assert is_running(page)


# -- being seen, and read --


@pytest.mark.parametrize(
    "size",
    [PHONE, SMALL_PHONE, PHONE_ON_ITS_SIDE, DESKTOP],
    ids=["phone", "small", "side", "desktop"],
)
def test_the_card_leaves_words_and_controls_alone(told_page, size):
    page, told = told_page(**size)
    start(page)
    for name, what in (
        ("fetching", {"change": fetching()}),
        ("loading", {"change": loading(detail="Converting it, once: vision encoder")}),
        ("problem", {"problem": problem(message=LONG_WORDS)}),
    ):
        told.tell(**what)
        card(page, name)
        box = page.locator("#model-card").bounding_box()
        words = page.locator("#caption").bounding_box()
        assert box["y"] + box["height"] <= words["y"]
        assert_within_reach(page)
    told.tell(change=fetching())
    card(page, "fetching")
    for panel in ("history", "preferences"):
        page.locator(f"#open-{panel}").click()
        assert_within_reach(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_change_of_models_has_a_weighty_barrier(told_page, scheme):
    page, told = told_page(color_scheme=scheme, reduced_motion="reduce")
    page.locator("#open-preferences").click()
    assert_accessible(page)
    for name, what in (
        ("fetching", {"change": fetching()}),
        ("loading", {"change": loading()}),
        ("problem", {"problem": problem(), "offline": True}),
    ):
        told.tell(**what)
        card(page, name)
        assert_accessible(page)
    assert page.evaluate("getComputedStyle(document.querySelector('progress')).animationName") == (
        "none"
    )
