"""The Timeline tab over a server with 100,000 moments: keeps, finds, asks, exports, deletes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from accessibility import assert_accessible_at_all_zooms
from controls import SIZES, assert_controls_fit
from fake_camera import write_camera_file
from kept_moments import QUESTION, write_timeline
from known_scenes import plain_scenes
from page_actions import press_start, url_of, wait_for_caption
from web_client import SightlineProcess

MOMENTS = 100_000
# The words of one of the oldest moments.
OLDEST = f"Look {MOMENTS - 50}"
MOST_ENTRIES = 200
ROWS = "document.querySelectorAll('.timeline-row').length"
KEYS = "[...document.querySelectorAll('.timeline-moment')].map((one) => one.dataset.key)"
FOCUSED = "document.activeElement.closest('.timeline-row')?.dataset.key ?? ''"
# Where a row of the list stands on the screen.
TOP_OF = "(key) => document.querySelector(`[data-key=${key}]`).getBoundingClientRect().top"
SCROLL = "(px) => { document.querySelector('.timeline-scroll').scrollTop = px; }"


@pytest.fixture(scope="module")
def kept_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SightlineProcess]:
    """A server with many moments of before, that keeps nothing more."""
    file = tmp_path_factory.mktemp("timeline") / "timeline.sqlite3"
    write_timeline(file, MOMENTS, keep="off")
    with SightlineProcess(["--model", "nano", "--timeline-file", str(file)]) as process:
        process.wait_until_ready()
        yield process


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = next(plain_scenes())[0]
    return write_camera_file(tmp_path_factory.mktemp("camera") / "plain.mjpeg", [(image, 2)])


def entries(page: Page):
    return page.locator(".timeline-moment .timeline-text")


def test_keeps_finds_asks_exports_and_deletes(open_page, kept_server, drawing, tmp_path):
    page = open_page(url_of(kept_server), drawing, reduced_motion="reduce")
    # Nothing is kept before the person says so.
    page.keyboard.press("t")
    offer = page.locator(".timeline-offer")
    expect(offer).to_contain_text("They are gone when the page is closed.")
    expect(page.locator(".timeline-kept")).to_contain_text("Nothing more is kept. 100,000 moments")
    assert_accessible_at_all_zooms(page)
    press_start(page)
    wait_for_caption(page)
    offer.get_by_role("button", name="Words and small pictures").click()
    kept = page.locator(".timeline-kept")
    expect(kept).to_contain_text("Words and small pictures, always")
    expect(offer).to_be_hidden()
    new = entries(page).first
    expect(new).not_to_contain_text("Look 0.")
    caption = page.locator("#caption").inner_text().strip()
    expect(new).to_have_text(caption)
    # The name of the camera is kept with it, and why it was no longer looked at.
    expect(page.locator(".timeline-note").first).to_contain_text(str(drawing))
    press_start(page)
    expect(page.locator(".timeline-gap").first).to_contain_text("Stopped")
    expect(page.locator(".timeline-strip")).to_have_attribute(
        "aria-valuetext", re.compile(r"^\d\d:[03]0, \d+ changes?$")
    )

    # Find: words, a phrase, without a word, and nothing.
    words = page.locator("#timeline-words")
    count = page.locator(".timeline-count")
    words.fill('"green square"')
    expect(entries(page).first).to_have_text("A green square.")
    words.fill(OLDEST)
    expect(entries(page).first).to_contain_text(f"{OLDEST}.")
    page.get_by_role("button", name="Answers").click()
    words.fill("parcel")
    expect(page.locator(".timeline-empty")).to_contain_text("Nothing found for “parcel”.")
    expect(count).to_have_text("0 moments")
    words.fill("")
    expect(page.locator(".timeline-question").first).to_have_text(QUESTION)
    page.get_by_role("button", name="Answers").click()

    # Show: the small picture comes into view, with its words.
    row = page.locator(".timeline-moment:has(.timeline-thumb:not([hidden]))", has_text="Look 0.")
    row.locator(".timeline-entry").click()
    expect(page.locator("#stage")).to_have_attribute("data-frozen", "")
    expect(page.locator("#caption")).to_contain_text("Look 0.")
    row.locator(".timeline-more").click()
    row.get_by_role("button", name="Keep ★").click()
    expect(row.locator(".timeline-note")).to_contain_text("★ Kept")
    with page.expect_download() as picture:
        row.get_by_role("button", name="Save picture").click()
    assert Path(picture.value.path()).read_bytes()[:2] == b"\xff\xd8"
    page.get_by_role("button", name="★ Kept", exact=True).click()
    expect(entries(page)).to_have_count(1)
    page.get_by_role("button", name="★ Kept", exact=True).click()
    expect(entries(page)).not_to_have_count(1)
    only_words = page.locator(".timeline-moment:has(.timeline-thumb[hidden])").first
    only_words.locator(".timeline-entry").click()
    expect(only_words).to_contain_text("Only words were kept")

    # Ask: answered by what captions name, each sentence with its moments; or nothing was found.
    words.fill("When was the last red star?")
    words.press("Enter")
    answer = page.locator(".timeline-answer")
    expect(answer).to_contain_text("A red star was last seen today")
    answer.locator("[data-moment]").first.click()
    expect(page.locator(".timeline-narrowed")).to_contain_text("Before")
    expect(entries(page).first).to_contain_text("A red star")
    page.get_by_role("button", name="Show all").click()
    words.fill("nothing like this")
    expect(page.locator(".timeline-empty")).to_contain_text("Nothing found")
    words.fill("When was the last dragon?")
    page.locator(".timeline-find [type=submit]").click()
    expect(answer).to_contain_text("Nothing was found, and the model was not asked")
    # The note of the search before is gone.
    expect(page.locator(".timeline-empty")).to_be_hidden()
    assert_accessible_at_all_zooms(page)
    answer.get_by_role("button", name="Close answer").click()
    expect(answer).to_be_hidden()

    # Export what is filtered.
    words.fill(OLDEST)
    expect(count).not_to_have_text("0 moments")
    expect(entries(page).first).to_contain_text(f"{OLDEST}.")
    page.get_by_role("button", name="Export …").click()
    page.locator("[name=format]").select_option("csv")
    with page.expect_download() as file:
        page.locator(".timeline-foot a").click()
    assert f"{OLDEST}." in Path(file.value.path()).read_text(encoding="utf-8-sig")

    # Delete: one, an hour, all; each comes back.
    words.fill("")
    expect(entries(page).first).to_have_text(caption)
    page.get_by_role("button", name="Delete …").click()
    page.get_by_role("button", name="The last hour").click()
    undo = page.locator(".timeline-undo")
    expect(undo).to_contain_text("moments deleted")
    expect(entries(page).first).not_to_have_text(caption)
    undo.get_by_role("button").click()
    expect(entries(page).first).to_have_text(caption)
    page.get_by_role("button", name="Delete …").click()
    page.get_by_role("button", name="Everything").click()
    expect(page.locator(".timeline-empty")).to_contain_text("Nothing was kept yet.")
    undo.get_by_role("button").click()
    expect(entries(page).first).to_have_text(caption)
    # And off again.
    page.get_by_role("button", name="Keep …").click()
    page.locator("[name=keep]").select_option("off")
    expect(kept).to_contain_text("Nothing more is kept.")


def test_large_timeline_is_used_by_keyboard_and_fits(open_page, kept_server, drawing):
    page = open_page(url_of(kept_server), drawing, reduced_motion="reduce")
    off = page.request.post(f"{url_of(kept_server)}api/timeline/settings", data={"keep": "off"})
    assert off.ok, off.text()
    page.reload()
    page.keyboard.press("t")
    page.get_by_role("button", name="All that is kept").press("Enter")
    expect(page.locator(".timeline-count")).to_contain_text("100,00")
    # Search, list, menu, delete and undo without a mouse.
    page.keyboard.press("/")
    expect(page.locator("#timeline-words")).to_be_focused()
    page.keyboard.type("star Look")
    expect(page.locator(".timeline-count")).to_have_text("More than 50 moments")
    page.keyboard.press("ArrowDown")
    first = page.evaluate(FOCUSED)
    page.keyboard.press("ArrowDown")
    second = page.evaluate(FOCUSED)
    assert first != second != ""
    page.keyboard.press("Shift+F10")
    expect(page.locator(".timeline-menu:not([hidden]) button:visible").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#history")).to_be_visible()
    page.keyboard.press("Home")
    assert page.evaluate(FOCUSED) == first
    page.keyboard.press("Delete")
    expect(page.locator(".timeline-undo")).to_contain_text("1 moment deleted")
    assert page.evaluate(FOCUSED) == second
    page.locator(".timeline-undo button").press("Enter")
    page.wait_for_function(f"(key) => ({KEYS})[0] === key", arg=first)

    # The strip is a slider; a jump lists what began before the end of its half hour.
    page.locator("#timeline-words").fill("")
    strip = page.locator(".timeline-strip")
    page.get_by_role("button", name="Day before").press("Enter")
    expect(page.locator(".timeline-day-name")).to_have_text("Yesterday")
    strip.focus()
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    expect(page.locator(".timeline-narrowed")).to_contain_text("Before")
    expect(page.locator(".timeline-time").first).not_to_be_empty()
    page.get_by_role("button", name="Show all").press("Enter")

    # However far it is scrolled, few entries are there, and they stay in their place.
    expect(entries(page).first).not_to_be_empty()
    for _ in range(25):
        page.locator(".timeline-list").evaluate(
            "(list) => { list.parentElement.scrollTop = list.parentElement.scrollHeight; }"
        )
        page.wait_for_timeout(50)
        assert page.evaluate(ROWS) <= MOST_ENTRIES
    page.evaluate(SCROLL, 4_000)
    page.wait_for_timeout(100)
    seen = page.evaluate(KEYS)[15]
    top = page.evaluate(TOP_OF, seen)
    page.get_by_role("button", name="Keep …").press("Enter")
    page.locator("[name=keep]").select_option("words")
    page.get_by_role("button", name="Keep …").press("Enter")
    press_start(page)
    expect(page.locator(".timeline-new")).to_be_visible()
    assert abs(page.evaluate(TOP_OF, seen) - top) < 1
    page.locator(".timeline-new").press("Enter")
    expect(page.locator(".timeline-new")).to_be_hidden()
    press_start(page)

    # Every size, every menu.
    page.locator(".timeline-more").first.click()
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for tool in ("Export …", "Delete …", "Keep …"):
            page.get_by_role("button", name=tool).click()
            try:
                assert_controls_fit(page)
            except AssertionError as error:
                raise AssertionError(f"{width} x {height}, {tool}: {error}") from error
    page.set_viewport_size({"width": 1280, "height": 800})
    assert_accessible_at_all_zooms(page)
