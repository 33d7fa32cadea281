"""The list of models and the card of a change: buttons, screen sizes and accessibility."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from accessibility import assert_accessible_in_all_colours
from controls import (
    DESKTOP,
    LANDSCAPE_PHONE,
    PHONE,
    SMALL_PHONE,
    assert_controls_fit,
)
from model_states import SMALL, FakeModels, fetching, loading, problem
from page_actions import start, told, url_of, wait_for_card
from web_client import SightlineProcess

LONG_MESSAGE = "The hub could not be reached. Check the network, or the proxy in HTTPS_PROXY. "


def list_button(page: Page, label: str):
    """Return a button of the list by its label."""
    return page.locator("#models").get_by_role("button", name=label)


@pytest.fixture
def models_page(open_page, url, still_camera):
    """`models_page(**options)` returns a page and the states of its server's models."""

    def open_(**options):
        page = open_page(f"{url}healthz", still_camera, **options)
        server = FakeModels(page)
        page.goto(url)
        expect(page.locator(".badge-text")).to_contain_text("nano on")
        return page, server

    return open_


# -- buttons --


def test_model_is_downloaded_by_one_press_and_focus_stays(models_page):
    page, server = models_page()
    page.locator("#open-preferences").click()
    server.set_after_request(change=fetching())
    download = list_button(page, "Download SmolVLM 256M")
    download.focus()
    page.keyboard.press("Enter")
    wait_for_card(page, "fetching")
    assert server.requests == [("switch", {"model": SMALL})]
    cancel = list_button(page, "Cancel SmolVLM 256M")
    expect(cancel).to_be_focused()
    # The other buttons are disabled, with the reason as their description.
    other = list_button(page, "Use SmolVLM2 256M Video")
    expect(other).to_have_attribute("aria-disabled", "true")
    expect(other).to_have_accessible_description(re.compile("Only one model can change at a time"))
    other.click(force=True)
    server.set_after_request()
    cancel.click()
    wait_for_card(page, "cancelled")
    assert [action for action, _ in server.requests] == ["switch", "cancel"]
    server.set(SMALL)
    expect(page.locator(".model-title").nth(1)).to_be_focused()


def test_refused_switch_shows_the_servers_message(models_page):
    page, server = models_page()
    page.locator("#open-preferences").click()
    server.refusal = {"code": "switching", "message": "SmolVLM 500M is on its way already."}
    list_button(page, "Download").click()
    wait_for_card(page, "refused")
    expect(page.locator(".model-card-text")).to_have_text("SmolVLM 500M is on its way already.")
    page.locator("#model-card").get_by_role("button", name="Dismiss").click()
    expect(page.locator("#model-card")).to_be_hidden()


def test_problem_can_be_retried_or_dismissed(models_page):
    page, server = models_page()
    server.set(problem=problem())
    wait_for_card(page, "problem")
    expect(told(page, "news").first).to_contain_text("download failed")
    server.set_after_request()
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#model-card")).to_be_hidden()
    server.set(problem=problem())
    wait_for_card(page, "problem")
    server.set_after_request(change=fetching())
    page.get_by_role("button", name="Try again").click()
    wait_for_card(page, "fetching")
    assert server.requests == [("dismiss", {}), ("switch", {"model": SMALL})]


# -- screens and accessibility --


@pytest.mark.parametrize(
    "sizes", [(PHONE, SMALL_PHONE, LANDSCAPE_PHONE), (DESKTOP,)], ids=["phones", "desktop"]
)
def test_card_covers_neither_captions_nor_controls(models_page, sizes):
    page, server = models_page(**sizes[0])
    start(page)
    for name, fields in (
        ("fetching", {"change": fetching()}),
        ("loading", {"change": loading(detail="Converting it, once: vision encoder")}),
        ("problem", {"problem": problem(message=LONG_MESSAGE)}),
    ):
        server.set(**fields)
        wait_for_card(page, name)
        for size in sizes:
            page.set_viewport_size(size["viewport"])
            card = page.locator("#model-card").bounding_box()
            caption = page.locator("#caption").bounding_box()
            assert card["y"] + card["height"] <= caption["y"]
            assert_controls_fit(page)
    server.set(change=fetching())
    wait_for_card(page, "fetching")
    for size in sizes:
        page.set_viewport_size(size["viewport"])
        for panel in ("history", "preferences"):
            page.locator(f"#open-{panel}").click()
            assert_controls_fit(page)
        page.keyboard.press("Escape")


def test_every_card_is_accessible(models_page):
    page, server = models_page(reduced_motion="reduce")
    page.locator("#open-preferences").click()
    assert_accessible_in_all_colours(page)
    for name, fields in (
        ("fetching", {"change": fetching()}),
        ("loading", {"change": loading()}),
        ("problem", {"problem": problem(), "offline": True}),
    ):
        server.set(**fields)
        wait_for_card(page, name)
        assert_accessible_in_all_colours(page)
    bar_animation = "getComputedStyle(document.querySelector('progress')).animationName"
    assert page.evaluate(bar_animation) == "none"


def test_a_stranger_sees_the_models_and_cannot_change_them(open_page):
    """The header of a trusted proxy makes this browser one on another machine."""
    args = ("--host", "0.0.0.0", "--behind-proxy", "--model", "nano", "--offline")
    with SightlineProcess(args) as sightline:
        forwarded = {"X-Forwarded-For": "203.0.113.9"}
        page = open_page(url_of(sightline), extra_http_headers=forwarded)
        page.locator("#open-preferences").click()
        expect(page.locator("#models .model-title").first).to_have_text("nano")
        expect(page.locator("#models-hint")).to_contain_text("Only the machine that runs")
        expect(page.locator("#models").get_by_role("button")).to_have_count(0)
