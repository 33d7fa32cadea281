"""Cameras that freeze, pause, go black, are unplugged or refused, in Chromium and in Firefox."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from canvas_camera import LAST_IMAGE
from make_believe import BUILTIN, TWIN, USB, do, make_believe, shown, times_asked
from page_actions import (
    KEEP_FORMS,
    NEXT_FRAME,
    choose_camera,
    press_start,
    start,
    wait_for_notice,
    wait_for_recovery,
)

SENT = "window.sentForms.length"


def open_cameras(open_page, url: str, own_clock: bool = True, **setup: Any) -> Page:
    script = make_believe(**setup) + KEEP_FORMS
    page: Page = open_page(url, init_script=script, own_clock=own_clock)
    return page


def choose(page: Page, name: str) -> None:
    choose_camera(page, f"{name}-id-0")


def pass_time(page: Page, seconds: int) -> None:
    """Run the page's clock; new frames come meanwhile, else the camera would count as stalled."""
    for _ in range(seconds):
        page.clock.run_for(1_000)
        page.evaluate(NEXT_FRAME)


# -- a picture of now, or none --


def test_frozen_camera_is_told_and_opened_once_by_itself(open_page, url):
    page = open_cameras(open_page, url)
    start(page)
    do(page, "freeze", "builtin")
    page.clock.run_for(4_000)
    wait_for_notice(page, "camera-stalled")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    sent = page.evaluate(SENT)
    assert times_asked(page) == 1
    page.clock.run_for(2_500)
    wait_for_recovery(page)
    assert times_asked(page) == 2
    assert page.evaluate(SENT) > sent
    page.evaluate(NEXT_FRAME)
    do(page, "freeze", "builtin")
    page.clock.run_for(4_000)
    wait_for_notice(page, "camera-stalled")
    sent = page.evaluate(SENT)
    # No second attempt so soon, and nothing is captioned from the old frame.
    page.clock.run_for(30_000)
    wait_for_notice(page, "camera-stalled")
    assert (times_asked(page), page.evaluate(SENT)) == (2, sent)
    page.get_by_role("button", name="Try again").click()
    wait_for_recovery(page)
    assert shown(page) == ["builtin"] * 3


def test_muted_camera_sends_nothing_and_is_told_after_a_while(open_page, url):
    page = open_cameras(open_page, url)
    start(page)
    for _ in range(4):
        page.evaluate(NEXT_FRAME)
        do(page, "mute", "builtin")
        page.clock.run_for(1_500)
        expect(page.locator(".notice")).to_be_hidden()
        do(page, "mute", "builtin", False)
        page.clock.run_for(300)
    page.evaluate(NEXT_FRAME)
    do(page, "mute", "builtin")
    before = page.evaluate(SENT)
    do(page, "paint", "builtin", "#20a030")
    pass_time(page, 4)
    wait_for_notice(page, "camera-muted")
    sent = page.evaluate(SENT)
    # A picture from before may have been on its way.
    assert sent <= before + 1
    pass_time(page, 12)
    assert page.evaluate(SENT) == sent
    do(page, "mute", "builtin", False)
    wait_for_recovery(page)


def test_black_picture_is_told_and_not_sent(open_page, url):
    page = open_cameras(open_page, url, own_clock=False)
    do(page, "paint", "builtin", "#000", "#000")
    press_start(page)
    wait_for_notice(page, "camera-black")
    assert page.evaluate(SENT) == 0
    do(page, "paint", "builtin", "#d22020", "#fff")
    wait_for_recovery(page)
    assert page.evaluate(LAST_IMAGE)


# -- the camera that was chosen --


def test_unplugged_camera_is_awaited_and_no_other_is_opened(open_page, url):
    page = open_cameras(open_page, url)
    choose(page, "usb")
    start(page)
    returns = {
        "same id": lambda: None,
        "same label": lambda: do(page, "rename"),
        "label without the browser's ids": lambda: (
            do(page, "rename"),
            do(page, "label", "usb", "USB Camera"),
        ),
    }
    for count, (case, change) in enumerate(returns.items(), start=1):
        do(page, "unplug", "usb")
        wait_for_notice(page, "camera-gone")
        expect(page.locator(".notice-title")).to_contain_text("USB Camera")
        expect(page.get_by_role("button", name="Use Integrated Camera")).to_be_visible()
        page.clock.run_for(20_000)
        assert shown(page) == ["usb"] * count, case
        change()
        do(page, "plug", "usb")
        wait_for_recovery(page)
        assert shown(page) == ["usb"] * (count + 1), case
    do(page, "unplug", "usb")
    page.get_by_role("button", name="Use Integrated Camera").click()
    wait_for_recovery(page)
    assert shown(page)[-1] == "builtin"


def test_camera_missing_at_the_start_is_told_before_another_opens(open_page, url):
    page = open_cameras(open_page, url, connected=["builtin", "usb"])
    choose(page, "usb")
    # Another id at the next load, as in Safari.
    do(page, "rename")
    page.reload()
    start(page)
    assert shown(page) == ["usb"]
    press_start(page)
    do(page, "unplug", "usb")
    press_start(page)
    wait_for_notice(page, "camera-gone")
    page.clock.run_for(20_000)
    assert shown(page) == ["usb"]


def test_another_camera_follows_if_none_was_chosen(open_page, url):
    page = open_cameras(open_page, url, cameras=[USB, BUILTIN, TWIN])
    labels = ["USB Camera (046d:08e5) (1)", "Integrated Camera", "USB Camera (046d:08e5) (2)"]
    expect(page.locator("#camera option")).to_have_text(labels)
    start(page)
    do(page, "unplug", "usb")
    wait_for_recovery(page)
    assert shown(page) == ["usb", "builtin"]


def test_all_cameras_of_a_notice_can_be_pressed_on_a_small_phone(open_page, url):
    cameras = [
        {"name": f"camera{n}", "label": f"Camera {n} of a maker with a long name", "colour": "red"}
        for n in range(4)
    ]
    small = {"viewport": {"width": 320, "height": 480}}
    page = open_page(url, init_script=make_believe(cameras), own_clock=True, **small)
    choose(page, "camera0")
    do(page, "unplug", "camera0")
    press_start(page)
    wait_for_notice(page, "camera-gone")
    buttons = page.locator(".notice-actions button")
    expect(buttons).to_have_count(4)
    for button in buttons.all():
        button.click(trial=True)
        assert button.evaluate("(button) => button.scrollWidth <= button.clientWidth")


# -- refusals --

# Name and message of the error, the notice, a word of it, and whether it is tried again by itself.
REFUSALS = [
    ("NotAllowedError", "Permission denied", "camera-denied", "beside the address", False),
    ("NotAllowedError", "Permission dismissed", "camera-dismissed", "question", False),
    ("NotAllowedError", "Permission denied by system", "camera-system", "Then try again", False),
    ("NotFoundError", "Requested device not found", "camera-missing", "Connect one", False),
    ("NotReadableError", "Could not start video source", "camera-taken", "program", True),
    ("AbortError", "Timeout starting video source", "camera-silent", "switch", False),
]


def test_each_refusal_has_its_words_and_only_a_busy_camera_is_tried_again(open_page, url):
    page = open_cameras(open_page, url, permission="prompt")
    for name, message, notice, words, is_retried in REFUSALS:
        do(page, "refuse", {"name": name, "message": message})
        press_start(page)
        wait_for_notice(page, notice)
        expect(page.locator(".notice-text")).to_contain_text(words)
        asked = times_asked(page)
        if name == "NotAllowedError":
            # Five headphones are plugged in.
            for _ in range(5):
                do(page, "announceChange")
        page.clock.run_for(5_000)
        assert (times_asked(page) > asked) == is_retried, message
        press_start(page)
    do(page, "refuse", {"name": "NotReadableError", "message": ""})
    press_start(page)
    wait_for_notice(page, "camera-taken")
    do(page, "refuse", None)
    page.clock.run_for(5_000)
    wait_for_recovery(page)


# -- the other engine --


@pytest.fixture
def tab(open_tab, url):
    tab = open_tab(url, make_believe() + KEEP_FORMS)
    tab.run("""(() => {
      const select = document.querySelector("#camera");
      select.value = "usb-id-0";
      select.dispatchEvent(new Event("change", { bubbles: true }));
    })()""")
    return tab


def test_firefox_has_the_same_notices(tab):
    notice = "document.querySelector('.notice:not([hidden])')?.dataset.notice"
    entries = "document.querySelectorAll('.history-entry').length"
    tab.click("#start")
    tab.wait_for(f"{entries} > 0")
    events = {
        "camera-stalled": ("cameras.freeze('usb')", "cameras.freeze('usb', false)"),
        "camera-muted": ("cameras.mute('usb')", "cameras.mute('usb', false)"),
        "camera-gone": ("cameras.unplug('usb')", "cameras.plug('usb')"),
        "camera-black": ("cameras.paint('usb', '#000', '#000')", "cameras.paint('usb', '#d22020')"),
    }
    for name, (begin, end) in events.items():
        tab.run(f"({begin}, null)")
        tab.wait_for(f"{notice} === arg", name)
        assert tab.text(".notice-title") and tab.text(".notice-text")
        tab.run(f"({end}, null)")
        tab.wait_for(f"!({notice})")
    assert set(tab.run("cameras.shown")) == {"usb"}
    tab.click("#start")
    tab.wait_for("document.querySelector('#video').srcObject === null")
