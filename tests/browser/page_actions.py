"""Actions on the page, and waiting for their results."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from web_client import SightlineProcess

# Playwright cannot read a request body with a file, so the page keeps the forms that it sends.
KEEP_FORMS = """
  window.sentForms = [];
  const send = window.fetch;
  window.fetch = (address, options) => {
    if (options?.body instanceof FormData) window.sentForms.push(options.body);
    return send(address, options);
  };
"""

# Resolves when the camera's next frame is shown.
NEXT_FRAME = """() => new Promise((resolve) => {
  document.querySelector("video").requestVideoFrameCallback(() => resolve());
})"""


def url_of(process: SightlineProcess) -> str:
    """Return the address that the server prints."""
    return f"http://127.0.0.1:{process.port}/"


def press_start(page: Page) -> None:
    """Press the button that starts and stops captions; a stop until it is taken.

    A second press right after a start is a slip of the finger, and is not taken.
    """
    button = page.locator("#start")
    stops = is_running(page)
    button.click()
    while stops and is_running(page):
        page.wait_for_timeout(100)
        button.click()


def wait_for_caption(page: Page) -> None:
    """Wait until a finished caption is in the history."""
    expect(page.locator(".history-entry")).not_to_have_count(0)


def wait_for_new_caption(page: Page) -> None:
    """Wait until one more caption is finished; the history is cleared."""
    page.locator(".history-clear").evaluate("(button) => button.click()")
    wait_for_caption(page)


def start(page: Page) -> None:
    """Press start and wait until the first caption is finished."""
    press_start(page)
    wait_for_caption(page)


def is_running(page: Page) -> bool:
    """Return whether captions are started, by the button's label."""
    return "Stop" in page.locator("#start").inner_text()


def choose_camera(page: Page, device_id: str) -> None:
    """Choose a camera in the panel of the source, and close that."""
    page.locator("#open-source").click()
    page.locator("#camera").select_option(device_id)
    page.locator("#source .panel-close").click()


def wait_for_card(page: Page, name: str) -> None:
    """Wait until the card of a change of models shows `name`."""
    expect(page.locator("#model-card")).to_have_attribute("data-change", name)


def wait_for_notice(page: Page, name: str) -> None:
    """Wait until the notice `name` is shown."""
    expect(page.locator(".notice")).to_have_attribute("data-notice", name)
    expect(page.locator(".notice-title")).not_to_be_empty()


def told(page: Page, kind: str = "") -> Locator:
    """Return what was told to the ear, newest first: texts of a kind, or all of them."""
    kinds = f"[data-kind={kind}]" if kind else ""
    return page.locator(f".voice-log li{kinds} .voice-log-text")


def wait_for_recovery(page: Page) -> None:
    """Wait until a new caption is finished and no notice is shown."""
    wait_for_new_caption(page)
    expect(page.locator(".notice")).to_be_hidden()
