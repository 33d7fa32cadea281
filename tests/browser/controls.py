"""Screen sizes, and a check that all controls fit on one, are large enough, and are not covered."""

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
# A window at 400 % and at 200 % zoom, phones on their side and upright, a tablet, two desktops.
SIZES = (
    *((320, 256), (640, 400), (667, 375), (844, 390)),
    *((390, 844), (768, 1024), (1280, 800), (2560, 1440)),
)
# Each control is brought into view first: a panel may scroll, and the smallest page does. Then each
# of its corners must be on the screen, and a press there must reach it.
# A button's words stand in it.
_FIND_CONTROLS = """() => [
    ...document.querySelectorAll(
      "button:not(.box), select, textarea, input:not(.switch, [type=radio])"),
  ]
  .filter((one) => one.checkVisibility())
  .map((one) => {
    one.scrollIntoView({ block: "center", behavior: "instant" });
    const { left, right, top, bottom, width, height } = one.getBoundingClientRect();
    const inside = left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight;
    const inset = 6;
    const points = [[left, top], [right, top], [left, bottom], [right, bottom]].map(
      ([x, y]) => [x === left ? x + inset : x - inset, y === top ? y + inset : y - inset]);
    const isFree = points.every(([x, y]) => {
      const hit = document.elementFromPoint(x, y);
      return hit && (one.contains(hit) || (one.disabled && hit.contains(one)));
    });
    const holds = !one.matches("button") || one.scrollWidth <= one.clientWidth;
    const isLarge = Math.min(width, height) >= 44;
    return [one.id || one.name || one.className, inside, isFree, isLarge, holds];
  })"""

_FIND_OVERFLOW_PX = """() => {
  const { scrollWidth, scrollHeight } = document.documentElement;
  const { scrollWidth: wide, clientWidth } = document.body;
  return [scrollWidth - innerWidth, scrollHeight - innerHeight, wide - clientWidth];
}"""

# The share of the picture's area that is in the window and in each element around it.
_SHOWN_SHARE = """() => {
  const picture = document.querySelector("#picture");
  picture.scrollIntoView({ block: "nearest", behavior: "instant" });
  const whole = picture.getBoundingClientRect();
  let [left, top, right, bottom] = [0, 0, innerWidth, innerHeight];
  for (let one = picture.parentElement; one; one = one.parentElement) {
    if (getComputedStyle(one).overflow === "visible") continue;
    const rect = one.getBoundingClientRect();
    left = Math.max(left, rect.left);
    top = Math.max(top, rect.top);
    right = Math.min(right, rect.right);
    bottom = Math.min(bottom, rect.bottom);
  }
  const width = Math.min(right, whole.right) - Math.max(left, whole.left);
  const height = Math.min(bottom, whole.bottom) - Math.max(top, whole.top);
  const covers = [...document.querySelectorAll(
      ".head, .dock-main, .dock-panels, .question, .panel, .player")]
    .filter((one) => one.checkVisibility())
    .map((one) => one.getBoundingClientRect())
    .filter((one) => one.left < whole.right - 0.5 && one.right > whole.left + 0.5)
    .filter((one) => one.top < whole.bottom - 0.5 && one.bottom > whole.top + 0.5);
  const aspect = video.videoWidth / video.videoHeight;
  return {
    share: (width * height) / (whole.width * whole.height),
    covers: covers.length,
    isWhole: Math.abs(whole.width / whole.height / aspect - 1) < 0.02,
  };
}"""


def assert_controls_fit(page: Page) -> None:
    """Assert that all controls can be reached and pressed, and that nothing scrolls sideways."""
    found = page.evaluate(_FIND_CONTROLS)
    assert len(found) >= 3
    cut_or_covered = [one for one in found if one[1:] != [True] * 4]
    assert cut_or_covered == [], cut_or_covered
    assert max(page.evaluate(_FIND_OVERFLOW_PX)) <= 0


def assert_picture_is_whole(page: Page) -> None:
    """Assert that the whole live picture is on the screen, and no control or panel covers it."""
    shown = page.evaluate(_SHOWN_SHARE)
    assert shown == {"share": 1, "covers": 0, "isWhole": True} or (
        abs(shown["share"] - 1) < 0.005 and shown["covers"] == 0 and shown["isWhole"]
    ), shown
