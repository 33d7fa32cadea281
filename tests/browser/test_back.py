"""Leaving the page and "Back": its captions are there again, and its camera was off meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from chromium import ALLOW_CAMERA, FAKE_CAMERA
from page_actions import start, told
from tools.nano.browser_scenes import QUIET_FLAGS, find_browser

# Playwright switches off what keeps pages for "Back".
NO_BACK_FLAG = "--disable-back-forward-cache"
# Notes what is left of the camera when the page is left.
NOTE_LEAVING = """(() => {
  window.mark = true;
  const track = document.querySelector("#video").srcObject?.getVideoTracks()[0];
  addEventListener("pagehide", () => (window.atLeaving = track?.readyState ?? "none"));
})()"""
ENTRIES = "[...document.querySelectorAll('.history-text')].map((entry) => entry.textContent)"
LIVE = "#stage[data-live]"


@pytest.fixture(scope="module")
def keeping_browser(playwright: Playwright) -> Iterator[Browser]:
    """A Chromium that keeps pages for "Back"."""
    browser = playwright.chromium.launch(
        executable_path=find_browser(),
        args=[*QUIET_FLAGS, FAKE_CAMERA, ALLOW_CAMERA],
        ignore_default_args=[NO_BACK_FLAG],
    )
    yield browser
    browser.close()


def leave(page: Page) -> None:
    page.goto(urljoin(page.url, "/healthz"))


def go_back(page: Page) -> None:
    """Go back without a wait for `load`, which a kept page does not fire again."""
    page.evaluate("setTimeout(() => history.back())")
    expect(page.locator("#start")).to_be_visible()


def test_page_is_as_it_was_and_its_camera_on_again(keeping_browser, url):
    context = keeping_browser.new_context()
    page = context.new_page()
    page.goto(url)
    start(page)
    page.evaluate(NOTE_LEAVING)
    before = page.evaluate(ENTRIES)
    leave(page)
    go_back(page)
    assert page.evaluate("window.mark"), "the page was loaded anew"
    assert page.evaluate("window.atLeaving") == "ended"
    assert page.evaluate(ENTRIES)[-len(before) :] == before
    expect(page.locator(LIVE)).to_be_visible()
    context.close()


def test_camera_stays_off_if_its_permission_is_gone(keeping_browser, url):
    context = keeping_browser.new_context()
    page = context.new_page()
    page.goto(url)
    start(page)
    before = page.evaluate(ENTRIES)
    # The state that the page reads when it returns.
    page.evaluate("""navigator.permissions.query({ name: "camera" }).then((status) => {
      Object.defineProperty(Object.getPrototypeOf(status), "state", { get: () => "prompt" });
    })""")
    leave(page)
    go_back(page)
    stopped = "Captions are stopped and the camera is off."
    expect(told(page, "news").first).to_have_text(stopped)
    assert page.evaluate(ENTRIES)[-len(before) :] == before
    expect(page.locator(LIVE)).to_have_count(0)
    context.close()


def test_page_that_stays_goes_on_and_so_does_one_that_was_not_kept(open_page, url, still_camera):
    page = open_page(url, still_camera)
    start(page)
    page.evaluate("dispatchEvent(new Event('beforeunload'))")
    expect(page.locator(LIVE)).to_have_count(0)
    expect(page.locator(LIVE)).to_be_visible()
    expect(told(page, "news").first).to_have_text("The camera is on.")
    before = page.evaluate(ENTRIES)
    leave(page)
    go_back(page)
    assert page.evaluate(ENTRIES)[-len(before) :] == before
    expect(page.locator(LIVE)).to_be_visible()
    expect(page.locator(".notice")).to_be_hidden()


def test_firefox_keeps_the_page_of_a_real_camera(open_tab, url):
    tab = open_tab(url)
    tab.click("#start")
    tab.wait_for(f"{ENTRIES}.length > 0")
    tab.run(NOTE_LEAVING)
    before = tab.run(ENTRIES)
    tab.go_to("about:blank")
    tab.go_back()
    tab.wait_for("document.querySelector('#start')?.textContent.trim()")
    assert tab.run("window.mark"), "the page was loaded anew"
    assert tab.run(ENTRIES)[-len(before) :] == before
    assert tab.run("window.atLeaving") == "ended"
