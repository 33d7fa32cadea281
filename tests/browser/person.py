"""What a person does and waits for on the page, as tests of it say it."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from web_client import SightlineProcess


def url_of(process: SightlineProcess) -> str:
    """The address that the server prints."""
    return f"http://127.0.0.1:{process.port}/"


def press_start(page: Page) -> None:
    """Presses the one button that starts and stops."""
    page.locator("#start").click()


def wait_for_caption(page: Page) -> None:
    """Waits until a caption is whole and listed."""
    expect(page.locator(".history-entry")).not_to_have_count(0)


def wait_for_new_caption(page: Page) -> None:
    """Waits until one more caption is whole, whatever was listed before."""
    page.locator(".history-clear").evaluate("(button) => button.click()")
    wait_for_caption(page)


def start(page: Page) -> None:
    """Presses start and waits until the first caption is whole."""
    press_start(page)
    wait_for_caption(page)


def is_running(page: Page) -> bool:
    """Whether captions are wanted, going by what the button offers."""
    return "Stop" in page.locator("#start").inner_text()


def card(page: Page, name: str) -> None:
    """Waits until the card of a change of models tells of `name`."""
    expect(page.locator("#model-card")).to_have_attribute("data-change", name)
