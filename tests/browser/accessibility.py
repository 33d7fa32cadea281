"""Accessibility checks by axe."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SEVERE = ("serious", "critical")


def assert_accessible(page: Page, options: dict[str, object] | None = None) -> None:
    """Assert that axe finds no serious or critical violation in the page's current state."""
    found = Axe().run(page, options=options).response["violations"]
    severe = [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found
        if one["impact"] in SEVERE
    ]
    assert not severe, severe


def assert_accessible_in_all_colours(page: Page) -> None:
    """The same in light, dark and forced colours; the page must follow the system's scheme."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert_accessible(page)
    page.emulate_media(forced_colors="active")
    # The system has the colours; Chromium 156 tells axe the page's own ones as those of text.
    assert_accessible(page, {"rules": {"color-contrast": {"enabled": False}}})
    page.emulate_media(forced_colors="none")


def assert_accessible_at_all_zooms(page: Page) -> None:
    """The same in all colours, and at 200 % and 400 % in a window of 1280 x 800 or 1024."""
    usual = page.viewport_size
    assert_accessible_in_all_colours(page)
    for width, height in ((640, 400), (320, 256)):
        page.set_viewport_size({"width": width, "height": height})
        assert_accessible(page)
    page.set_viewport_size(usual)
