"""Accessibility checks by axe."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

SEVERE = ("serious", "critical")


def assert_accessible(page: Page) -> None:
    """Assert that axe finds no serious or critical violation in the page's current state."""
    found = Axe().run(page).response["violations"]
    assert [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found
        if one["impact"] in SEVERE
    ] == []


def assert_accessible_in_both_schemes(page: Page) -> None:
    """The same in light and dark colours; the page must follow the system's scheme."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert_accessible(page)
