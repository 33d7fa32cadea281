"""Screen sizes, and a check that all controls fit on one and are large enough."""

from __future__ import annotations

from playwright.sync_api import Page

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
SMALL_PHONE = {"viewport": {"width": 320, "height": 568}, "has_touch": True, "is_mobile": True}
LANDSCAPE_PHONE = {
    "viewport": {"width": 667, "height": 375},
    "has_touch": True,
    "is_mobile": True,
}
DESKTOP = {"viewport": {"width": 1280, "height": 800}}
_FIND_CONTROLS = """() => [
    ...document.querySelectorAll("button:not(.box), select, input:not(.switch, [type=radio])"),
  ]
  .filter((one) => one.checkVisibility())
  .map((one) => {
    const { left, right, top, width, height } = one.getBoundingClientRect();
    const scrolls = one.closest(".panel-body") !== null;
    const isHigh = top < 0 || top + height > innerHeight;
    const inside = left >= 0 && right <= innerWidth && (scrolls || !isHigh);
    return [one.id || one.name || one.className, inside, Math.min(width, height) >= 44];
  })"""

_FIND_OVERFLOW_PX = """() => {
  const { scrollWidth, scrollHeight } = document.documentElement;
  return [Math.max(0, scrollWidth - innerWidth), Math.max(0, scrollHeight - innerHeight)];
}"""


def assert_controls_fit(page: Page) -> None:
    """Assert that all controls are on the screen and at least 44 px, and nothing scrolls."""
    found = page.evaluate(_FIND_CONTROLS)
    assert len(found) >= 3
    assert [one for one in found if one[1:] != [True, True]] == []
    assert page.evaluate(_FIND_OVERFLOW_PX) == [0, 0]
