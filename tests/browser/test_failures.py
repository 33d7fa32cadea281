"""Each failure has a notice with an action, and captions resume when it is over."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable

from playwright.sync_api import Route, expect

from chromium import FAKE_CAMERA
from page_actions import (
    press_start,
    start,
    url_of,
    wait_for_caption,
    wait_for_notice,
    wait_for_recovery,
)
from web_client import SightlineProcess

# -- the camera --


def test_captions_start_when_a_denied_camera_is_allowed(open_page, url, still_camera):
    page = open_page(url, still_camera, allow=False)
    press_start(page)
    wait_for_notice(page, "camera-denied")
    expect(page.locator(".notice-text")).to_contain_text("Allow the camera")
    page.context.grant_permissions(["camera"])
    wait_for_recovery(page)


def test_withdrawn_permission_is_shown(open_page, url, still_camera):
    page = open_page(url, still_camera, allow=False, permissions=["camera"])
    press_start(page)
    wait_for_recovery(page)
    page.context.clear_permissions()
    wait_for_notice(page, "camera-denied")
    assert page.evaluate("document.querySelector('video').srcObject") is None


def test_missing_camera_is_shown(open_page, url):
    page = open_page(url, flags=(f"{FAKE_CAMERA}=device-count=0",))
    press_start(page)
    wait_for_notice(page, "camera-missing")


def test_reconnected_camera_is_used_again(open_page, url, still_camera, tmp_path):
    camera = tmp_path / "camera.mjpeg"
    shutil.copy(still_camera, camera)
    page = open_page(url, camera)
    press_start(page)
    wait_for_recovery(page)
    press_start(page)
    camera.unlink()
    press_start(page)
    wait_for_notice(page, "camera-missing")
    shutil.copy(still_camera, camera)
    page.get_by_role("button", name="Try again").click()
    wait_for_recovery(page)


def test_disconnected_camera_is_shown(open_page, url, still_camera):
    page = open_page(url, still_camera)
    press_start(page)
    wait_for_recovery(page)
    # A fake camera cannot be unplugged; this is the event that the browser sends for it.
    page.evaluate(
        "document.querySelector('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))"
    )
    wait_for_notice(page, "camera-ended")
    page.get_by_role("button", name="Try again").click()
    wait_for_recovery(page)


def test_camera_in_use_is_shown(open_page, url, still_camera):
    in_use = """
      window.inUse = true;
      const cameras = navigator.mediaDevices;
      const open = cameras?.getUserMedia.bind(cameras);
      if (cameras) cameras.getUserMedia = (constraints) => window.inUse
        ? Promise.reject(new DOMException("in use", "NotReadableError"))
        : open(constraints);
    """
    page = open_page(url, still_camera, init_script=in_use)
    press_start(page)
    wait_for_notice(page, "camera-taken")
    page.evaluate("window.inUse = false")
    page.get_by_role("button", name="Try again").click()
    wait_for_recovery(page)


def test_insecure_address_is_shown(open_page):
    name = socket.gethostname().lower()
    with SightlineProcess(["--host", "0.0.0.0"]) as process:
        # The machine's own name is not a secure origin; it is resolved as a network would.
        url = f"http://{name}:{process.port}/"
        page = open_page(url, flags=(f"--host-resolver-rules=MAP {name} 127.0.0.1",))
        wait_for_notice(page, "insecure")
        expect(page.get_by_role("button", name="Open as localhost")).to_be_visible()
        # Neither files nor the sample need a secure page.
        page.get_by_role("button", name="Try the sample").click()
        wait_for_caption(page)
        expect(page.locator(".notice")).to_be_hidden()
        press_start(page)
        page.get_by_role("button", name="Start").click()
        expect(page.locator("#stage")).to_have_attribute("data-live", "")


# -- the server --


def test_restarted_server_is_found_again(open_page, still_camera):
    with SightlineProcess() as first:
        first.wait_until_ready()
        page = open_page(url_of(first), still_camera)
        press_start(page)
        wait_for_recovery(page)
    wait_for_notice(page, "server-gone")
    expect(page.locator(".notice-next")).to_contain_text("Next attempt in")
    expect(page.locator(".badge-text")).to_have_text("Not connected")
    expect(page.locator("#chip")).to_contain_text("no captions")
    page.locator("#question-text").fill("What colour is it?")
    page.keyboard.press("Enter")
    expect(page.locator(".turn-note").last).to_contain_text("Your question waits")
    with SightlineProcess(["--port", str(first.port)]) as second:
        # The new server has neither the frame nor the thread: both come with the question.
        expect(page.locator(".turn-answer")).not_to_be_empty()
        page.locator("#freeze").click()
        wait_for_recovery(page)
        expect(page.locator(".badge-text")).to_contain_text("nano")
        second.end()
        wait_for_notice(page, "server-gone")


def test_captions_start_when_the_model_is_loaded(open_page, url, still_camera):
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
    wait_for_notice(page, "model-loading")
    still_loading = False
    wait_for_recovery(page)


def test_failed_model_shows_the_servers_message(open_page, still_camera):
    # A format that the runtime lacks: no other model could be loaded in it either.
    flags = ["--model", "nano", "--runtime", "openvino", "--dtype", "float16"]
    with SightlineProcess(flags) as process:
        page = open_page(url_of(process), still_camera)
        wait_for_notice(page, "model-failed")
        status = page.evaluate("fetch('/api/status').then((response) => response.json())")
        expect(page.locator(".notice-text")).to_have_text(status["error"]["message"])
        expect(page.get_by_role("button", name="Try now")).to_be_visible()


def refuse(status: int, code: str, message: str, **headers: str) -> dict[str, object]:
    body = json.dumps({"error": {"code": code, "message": message}})
    return {"status": status, "body": body, "content_type": "application/json", "headers": headers}


STREAM = "text/event-stream"
UPSTREAM_FAILED = (
    'event: error\ndata: {"error": {"code": "upstream_failed", "message": "It broke off."}}\n\n'
)
OUT_OF_MEMORY = (
    'event: error\ndata: {"error": {"code": "generation_failed", "message": "Out of memory."}}\n\n'
)


FAILED_ANSWERS = [
    (refuse(503, "busy", "Too many captions.", **{"Retry-After": "1"}), "frame-busy", "Too many"),
    (refuse(400, "bad_image", "The JPEG is cut short."), "frame-refused", "cut short"),
    (refuse(500, "internal", "Something went wrong."), "frame-refused", "went wrong"),
    ({"body": OUT_OF_MEMORY, "content_type": STREAM}, "frame-refused", "Out of memory"),
    ({"body": "<p>Log in", "content_type": "text/html"}, "frame-bad_answer", ""),
    ({"body": "data: {\n\n", "content_type": STREAM}, "frame-bad_answer", ""),
    ({"status": 502, "body": "Bad gateway"}, "frame-bad_answer", "502"),
]


def answer_with(answer: dict[str, object]) -> Callable[[Route], None]:
    return lambda route: route.fulfill(**answer)


def test_failed_frame_is_shown_and_retried(open_page, url, still_camera):
    page = open_page(url, still_camera)
    button = page.locator("#start")
    for answer, name, text in FAILED_ANSWERS:
        page.unroute("**/api/captions")
        page.route("**/api/captions", answer_with(answer))
        with page.expect_response("**/api/captions"):
            button.click()
        button = page.get_by_role("button", name="Try now")
        wait_for_notice(page, name)
        expect(page.locator(".notice-text")).to_contain_text(text)
    page.unroute("**/api/captions")
    wait_for_recovery(page)


def test_incomplete_caption_is_told_and_not_in_the_history(open_page, url, still_camera):
    page = open_page(url, still_camera)
    start(page)
    whole = page.locator("#caption").text_content() or ""
    press_start(page)
    half = 'event: token\ndata: {"text": "Half a"}\n\n'
    ends = {"server-gone": "", "frame-upstream": UPSTREAM_FAILED}
    body = ""
    page.route(
        "**/api/captions",
        lambda route: route.fulfill(status=200, body=body, content_type=STREAM),
    )
    for notice, end in ends.items():
        body = half + end
        press_start(page)
        wait_for_notice(page, notice)
        expect(page.locator("#caption")).to_have_text(whole)
        press_start(page)
    page.unroute("**/api/captions")
    start(page)
    assert "Half a" not in page.locator(".history-text").all_text_contents()


def test_silent_server_times_out(open_page, url, still_camera):
    page = open_page(url, still_camera, own_clock=True)
    page.route("**/api/captions", lambda route: None)
    with page.expect_request("**/api/captions"):
        press_start(page)
    page.clock.fast_forward(25_000)
    wait_for_notice(page, "frame-timeout")
    page.unroute("**/api/captions")
    wait_for_recovery(page)
