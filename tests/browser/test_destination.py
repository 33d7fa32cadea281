"""The page of a server that forwards frames shows where they go."""

from __future__ import annotations

import itertools

import pytest
from playwright.sync_api import expect

from accessibility import assert_accessible_in_all_colours
from controls import DESKTOP, LANDSCAPE_PHONE, PHONE, SMALL_PHONE, assert_controls_fit
from page_actions import start
from upstream_states import ENCRYPTED, FAR, NEAR, OTHER, UNREACHABLE, FakeUpstreams, upstream


@pytest.fixture
def page(open_page, url, still_camera):
    return open_page(url, still_camera)


def test_destination_is_shown_before_and_after_start(page):
    expect(page.locator(".welcome-privacy")).to_contain_text("nowhere else")
    expect(page.locator("#destination")).to_be_hidden()
    FakeUpstreams(page).set(upstream(FAR), upstream(OTHER))
    expect(page.locator(".welcome-privacy")).to_contain_text(f"{FAR} and {OTHER}")
    expect(page.locator("#destination")).to_have_text(
        "Pictures go to 10.0.0.5:8000 and 10.0.0.6:8000"
    )
    expect(page.locator("#destination")).to_have_attribute("data-leaves", "")
    start(page)
    expect(page.locator("#destination")).to_be_visible()


def test_program_on_this_computer_is_no_remote_destination(page):
    FakeUpstreams(page).set(upstream(NEAR))
    expect(page.locator("#destination")).to_have_text(
        "Pictures go to 127.0.0.1:8001, on this computer"
    )
    expect(page.locator("#destination")).not_to_have_attribute("data-leaves", "")


def test_failed_and_recovered_upstreams_are_shown(page):
    server = FakeUpstreams(page)
    server.set(upstream(FAR, UNREACHABLE))
    expect(page.locator(".notice")).to_have_attribute("data-notice", "upstreams-down")
    page.locator("#open-preferences").click()
    expect(page.locator(".upstream-facts")).to_have_text(
        "Cannot be reached: nothing listens there."
    )
    server.set(upstream(FAR))
    expect(page.locator(".notice")).to_be_hidden()
    expect(page.locator(".upstream-facts")).to_contain_text("12 requests sent")
    server.set(upstream(f"{FAR}/<img src=x>", "<b>broken</b>"))
    expect(page.locator(".upstream-facts")).to_have_text("<b>broken</b>")
    assert page.locator("#app :is(img:not([id], .ask-thumb), b)").count() == 0


def test_every_state_is_accessible(open_page, url):
    page = open_page(url, reduced_motion="reduce")
    server = FakeUpstreams(page)
    server.set(upstream(FAR), upstream(OTHER, UNREACHABLE), upstream(ENCRYPTED))
    expect(page.locator("#destination")).to_be_visible()
    assert_accessible_in_all_colours(page)
    page.locator("#open-preferences").click()
    assert_accessible_in_all_colours(page)
    server.set(upstream(FAR, UNREACHABLE))
    expect(page.locator(".notice")).to_be_visible()
    assert_accessible_in_all_colours(page)


def test_destination_fits_on_every_screen(open_page, url):
    page = open_page(url)
    FakeUpstreams(page).set(upstream(FAR), upstream(OTHER), upstream(ENCRYPTED))
    expect(page.locator("#destination")).to_be_visible()
    for screen in (DESKTOP, PHONE, SMALL_PHONE, LANDSCAPE_PHONE):
        page.set_viewport_size(screen["viewport"])
        assert_controls_fit(page)
        shown = [
            page.locator(name).bounding_box() for name in ("#destination", "#welcome", "#start")
        ]
        for one, other in itertools.combinations(shown, 2):
            assert (
                one["x"] + one["width"] <= other["x"]
                or other["x"] + other["width"] <= one["x"]
                or one["y"] + one["height"] <= other["y"]
                or other["y"] + other["height"] <= one["y"]
            )
        right = shown[0]["x"] + shown[0]["width"]
        assert right <= screen["viewport"]["width"]
