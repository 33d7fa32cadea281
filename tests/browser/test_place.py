"""The page of a server that sends frames on: it says so before the camera starts, and meanwhile."""

from __future__ import annotations

import pytest
from barriers import assert_accessible
from controls import DESKTOP, PHONE, PHONE_ON_ITS_SIDE, SMALL_PHONE, assert_within_reach
from person import start
from playwright.sync_api import expect
from told_upstreams import ENCRYPTED, FAR, NEAR, OTHER, UNREACHABLE, ToldUpstreams, upstream


@pytest.fixture
def page(open_page, url, still_camera):
    return open_page(url, still_camera)


def test_the_page_says_where_pictures_go_before_the_camera_starts_and_after(page):
    expect(page.locator(".welcome-privacy")).to_contain_text("nowhere else")
    expect(page.locator("#place")).to_be_hidden()
    ToldUpstreams(page).tell(upstream(FAR), upstream(OTHER))
    expect(page.locator(".welcome-privacy")).to_contain_text(f"{FAR} and {OTHER}")
    expect(page.locator("#place")).to_have_text("Pictures go to 10.0.0.5:8000 and 10.0.0.6:8000")
    expect(page.locator("#place")).to_have_attribute("data-leaves", "")
    start(page)
    expect(page.locator("#place")).to_be_visible()


def test_another_program_on_this_computer_does_not_look_like_leaving_it(page):
    ToldUpstreams(page).tell(upstream(NEAR))
    expect(page.locator("#place")).to_have_text("Pictures go to 127.0.0.1:8001, on this computer")
    expect(page.locator("#place")).not_to_have_attribute("data-leaves", "")


def test_servers_that_fail_and_come_back_are_told_of(page):
    server = ToldUpstreams(page)
    server.tell(upstream(FAR, UNREACHABLE))
    expect(page.locator(".notice")).to_have_attribute("data-notice", "upstreams-down")
    page.locator("#open-preferences").click()
    expect(page.locator(".upstream-facts")).to_have_text(
        "Cannot be reached: nothing listens there."
    )
    server.tell(upstream(FAR))
    expect(page.locator(".notice")).to_be_hidden()
    expect(page.locator(".upstream-facts")).to_contain_text("12 requests sent")
    server.tell(upstream(f"{FAR}/<img src=x>", "<b>broken</b>"))
    expect(page.locator(".upstream-facts")).to_have_text("<b>broken</b>")
    assert page.locator("#app :is(img, b)").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_state_of_it_has_a_weighty_barrier(open_page, url, scheme):
    page = open_page(url, color_scheme=scheme)
    server = ToldUpstreams(page)
    server.tell(upstream(FAR), upstream(OTHER, UNREACHABLE), upstream(ENCRYPTED))
    expect(page.locator("#place")).to_be_visible()
    assert_accessible(page)
    page.locator("#open-preferences").click()
    assert_accessible(page)
    server.tell(upstream(FAR, UNREACHABLE))
    expect(page.locator(".notice")).to_be_visible()
    assert_accessible(page)


def test_all_of_it_has_room_on_every_screen(open_page, url):
    page = open_page(url)
    ToldUpstreams(page).tell(upstream(FAR), upstream(OTHER), upstream(ENCRYPTED))
    expect(page.locator("#place")).to_be_visible()
    for screen in (DESKTOP, PHONE, SMALL_PHONE, PHONE_ON_ITS_SIDE):
        page.set_viewport_size(screen["viewport"])
        assert_within_reach(page)
        head, welcome, dock = (
            page.locator(name).bounding_box() for name in ("#place", "#welcome", "#dock")
        )
        assert head["x"] + head["width"] <= screen["viewport"]["width"]
        assert head["y"] + head["height"] <= welcome["y"]
        assert welcome["y"] + welcome["height"] <= dock["y"]
