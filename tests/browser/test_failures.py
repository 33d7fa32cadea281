"""Whatever goes wrong, the page says so in words, offers a way on, and goes on when it can."""

from __future__ import annotations

import json
import shutil
import socket

import pytest
from chromium import FAKE_CAMERA
from person import press_start, url_of, wait_for_caption, wait_for_new_caption
from playwright.sync_api import Page, Route, expect

from web_client import SightlineProcess


def notice(page: Page, name: str) -> None:
    """Waits until the page tells of `name`."""
    expect(page.locator(".notice")).to_have_attribute("data-notice", name)
    expect(page.locator(".notice-title")).not_to_be_empty()


def goes_on(page: Page) -> None:
    """Waits until a new caption is whole and nothing is left to tell."""
    wait_for_new_caption(page)
    expect(page.locator(".notice")).to_be_hidden()


# -- the camera --


def test_a_refused_camera_is_told_of_and_captions_begin_once_it_is_allowed(
    open_page, url, still_camera
):
    page = open_page(url, still_camera, allow=False)
    press_start(page)
    notice(page, "camera-denied")
    expect(page.locator(".notice-text")).to_contain_text("Allow the camera")
    page.context.grant_permissions(["camera"])
    goes_on(page)


def test_a_permission_taken_back_midway_is_told_of(open_page, url, still_camera):
    page = open_page(url, still_camera, allow=False, permissions=["camera"])
    press_start(page)
    goes_on(page)
    page.context.clear_permissions()
    notice(page, "camera-denied")
    assert page.evaluate("document.querySelector('video').srcObject") is None


def test_a_computer_without_a_camera_is_told_of(open_page, url):
    page = open_page(url, flags=(f"{FAKE_CAMERA}=device-count=0",))
    press_start(page)
    notice(page, "camera-missing")


def test_a_camera_that_is_plugged_in_again_is_taken_up(open_page, url, still_camera, tmp_path):
    camera = tmp_path / "camera.mjpeg"
    shutil.copy(still_camera, camera)
    page = open_page(url, camera)
    press_start(page)
    goes_on(page)
    press_start(page)
    camera.unlink()
    press_start(page)
    notice(page, "camera-missing")
    shutil.copy(still_camera, camera)
    page.get_by_role("button", name="Try again").click()
    goes_on(page)


def test_a_camera_that_goes_midway_is_told_of(open_page, url, still_camera):
    page = open_page(url, still_camera)
    press_start(page)
    goes_on(page)
    # No fake camera can be pulled out; this is the event that the browser gives when one is.
    page.evaluate(
        "document.querySelector('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))"
    )
    notice(page, "camera-ended")
    page.get_by_role("button", name="Try again").click()
    goes_on(page)


def test_a_camera_that_another_program_holds_is_told_of(open_page, url, still_camera):
    held = """
      window.held = true;
      const cameras = navigator.mediaDevices;
      const open = cameras?.getUserMedia.bind(cameras);
      if (cameras) cameras.getUserMedia = (wish) => window.held
        ? Promise.reject(new DOMException("in use", "NotReadableError"))
        : open(wish);
    """
    page = open_page(url, still_camera, init_script=held)
    press_start(page)
    notice(page, "camera-taken")
    page.evaluate("window.held = false")
    page.get_by_role("button", name="Try again").click()
    goes_on(page)


def test_an_address_that_may_not_use_a_camera_is_told_of(open_page):
    name = socket.gethostname().lower()
    with SightlineProcess(["--host", "0.0.0.0"]) as process:
        # Its own name, which is no secure origin, is led to this machine as a network would.
        url = f"http://{name}:{process.port}/"
        page = open_page(url, flags=(f"--host-resolver-rules=MAP {name} 127.0.0.1",))
        notice(page, "insecure")
        expect(page.get_by_role("button", name="Open as localhost")).to_be_visible()


# -- the server --


def test_a_server_that_is_killed_is_told_of_and_found_again(open_page, still_camera):
    with SightlineProcess() as first:
        first.wait_until_ready()
        page = open_page(url_of(first), still_camera)
        press_start(page)
        goes_on(page)
    notice(page, "server-gone")
    expect(page.locator(".notice-next")).to_contain_text("Next try in")
    expect(page.locator(".badge-text")).to_have_text("Not connected")
    with SightlineProcess(["--port", str(first.port)]) as second:
        goes_on(page)
        expect(page.locator(".badge-text")).to_contain_text("nano")
        second.end()
        notice(page, "server-gone")


def test_a_page_opened_while_the_model_loads_says_so_and_captions_when_it_is_ready(
    open_page, url, still_camera
):
    page = open_page(url, still_camera, own_clock=True)
    still_loading = True

    def status(route: Route) -> None:
        answer = route.fetch()
        state = {"state": "loading"} if still_loading else {}
        route.fulfill(response=answer, json=answer.json() | state)

    page.route("**/api/status", status)
    page.reload()
    expect(page.locator(".badge-text")).to_have_text("Loading nano")
    expect(page.locator("#welcome")).to_contain_text("still loading")
    press_start(page)
    notice(page, "model-loading")
    still_loading = False
    goes_on(page)


def test_a_model_that_cannot_be_loaded_is_told_of_in_the_servers_words(
    open_page, still_camera, tmp_path
):
    (empty := tmp_path / "empty").mkdir()
    with SightlineProcess(["--model", str(empty)]) as process:
        page = open_page(url_of(process), still_camera)
        notice(page, "model-failed")
        said = page.evaluate("fetch('/api/status').then((answer) => answer.json())")
        expect(page.locator(".notice-text")).to_have_text(said["error"]["message"])
        expect(page.get_by_role("button", name="Try now")).to_be_visible()


def refuse(status: int, code: str, message: str, **headers: str) -> dict[str, object]:
    body = json.dumps({"error": {"code": code, "message": message}})
    return {"status": status, "body": body, "content_type": "application/json", "headers": headers}


STREAM = "text/event-stream"
GAVE_UP = (
    'event: error\ndata: {"error": {"code": "generation_failed", "message": "Out of memory."}}\n\n'
)


@pytest.mark.parametrize(
    ("answer", "name", "words"),
    [
        (
            refuse(503, "busy", "Too many captions.", **{"Retry-After": "1"}),
            "frame-busy",
            "Too many",
        ),
        (refuse(400, "bad_image", "The JPEG is cut short."), "frame-refused", "cut short"),
        (refuse(500, "internal", "Something went wrong."), "frame-refused", "went wrong"),
        (
            {"status": 200, "body": GAVE_UP, "content_type": STREAM},
            "frame-refused",
            "Out of memory",
        ),
        ({"status": 200, "body": "<p>Log in", "content_type": "text/html"}, "frame-bad_answer", ""),
        ({"status": 200, "body": "data: {\n\n", "content_type": STREAM}, "frame-bad_answer", ""),
        ({"status": 502, "body": "Bad gateway"}, "frame-bad_answer", "502"),
    ],
)
def test_a_frame_that_fails_is_told_of_and_tried_again(
    open_page, url, still_camera, answer, name, words
):
    page = open_page(url, still_camera)
    page.route("**/api/captions", lambda route: route.fulfill(**answer))
    press_start(page)
    notice(page, name)
    expect(page.locator(".notice-text")).to_contain_text(words)
    page.unroute("**/api/captions")
    goes_on(page)


def test_a_caption_broken_off_midway_is_never_listed(open_page, url, still_camera):
    page = open_page(url, still_camera)
    half = {"body": 'event: token\ndata: {"text": "Half a"}\n\n', "content_type": STREAM}
    page.route("**/api/captions", lambda route: route.fulfill(status=200, **half))
    press_start(page)
    expect(page.locator("#caption")).to_have_text("Half a")
    notice(page, "server-gone")
    page.unroute("**/api/captions")
    wait_for_caption(page)
    assert "Half a" not in page.locator(".history-text").all_text_contents()


def test_a_server_that_falls_silent_is_given_up_on(open_page, url, still_camera):
    page = open_page(url, still_camera, own_clock=True)
    page.route("**/api/captions", lambda route: None)
    with page.expect_request("**/api/captions"):
        press_start(page)
    page.clock.fast_forward(25_000)
    notice(page, "frame-silent")
    page.unroute("**/api/captions")
    goes_on(page)
