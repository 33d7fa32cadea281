"""The page in Firefox: captions, questions, and a notice with a way out for each failure."""

from __future__ import annotations

import base64
import json

import pytest
from PIL import Image

from canvas_camera import CANVAS_CAMERA, data_url
from files_to_show import GIVE, png_of, write_video
from firefox import Tab
from known_scenes import plain_scenes

# The page's requests for captions get `testServer.answer`, unless that is null.
FAKE_SERVER = """
  const send = window.fetch;
  window.testServer = { answer: null, sent: 0 };
  window.fetch = (address, options) => {
    const { answer } = window.testServer;
    if (options?.body instanceof FormData) window.testServer.sent += 1;
    if (!answer || !String(address).endsWith(answer.route)) return send(address, options);
    if (answer.fails) return Promise.reject(new TypeError("NetworkError"));
    const headers = { "Content-Type": answer.type };
    return Promise.resolve(new Response(answer.body, { status: answer.status, headers }));
  };
"""
ENTRIES = "document.querySelectorAll('.history-entry').length"
NOTICE = "document.querySelector('.notice:not([hidden])')?.dataset.notice"


@pytest.fixture
def tab(open_tab, url) -> Tab:
    """The page with a camera on a plain scene, and a server that may be told to fail."""
    tab = open_tab(url, CANVAS_CAMERA + FAKE_SERVER)
    show(tab, next(plain_scenes())[0])
    return tab


def show(tab: Tab, image: Image.Image) -> None:
    tab.run("testCamera.show(arg)", data_url(image))


def wait_for_notice(tab: Tab, name: str) -> None:
    tab.wait_for(f"{NOTICE} === arg", name)
    for part in ("title", "text"):
        assert tab.text(f".notice-{part}"), name


def test_scene_is_captioned_and_questions_are_answered(tab):
    name = next(plain_scenes())[1]
    tab.click("#start")
    tab.wait_for(f"{ENTRIES} > 0")
    assert name in tab.text("#caption").lower()
    tab.run("""(() => {
      const question = document.querySelector("#question-text");
      question.value = "What colour is it?";
      question.dispatchEvent(new Event("input"));
      question.form.requestSubmit();
    })()""")
    tab.wait_for(f"{ENTRIES} > 1")
    assert tab.text("#caption").strip() == tab.text(".history-text").strip()
    assert tab.text(".voice-log-text").endswith(tab.text("#caption").strip())
    tab.click("#freeze")
    tab.click("#start")
    tab.wait_for("document.querySelector('#video').srcObject === null")
    assert "camera is off" in tab.text("#chip")


def test_lost_camera_is_shown_and_used_again(tab):
    tab.click("#start")
    tab.wait_for(f"{ENTRIES} > 0")
    tab.run("testCamera.unplug()")
    wait_for_notice(tab, "camera-ended")
    tab.run("testCamera.plug()")
    tab.wait_for(f"!({NOTICE}) && document.querySelector('#stage').dataset.live === ''")


# Firefox's names of failures to open a camera.
CAMERA_FAILURES = {
    "NotAllowedError": "camera-dismissed",
    "NotFoundError": "camera-missing",
    "NotReadableError": "camera-taken",
    "AbortError": "camera-taken",
    "OverconstrainedError": "camera-missing",
    "TypeError": "camera-unknown",
}


def test_each_failure_of_the_camera_has_a_notice(tab):
    for failure, notice in CAMERA_FAILURES.items():
        tab.run("testCamera.failure = arg", failure)
        tab.click("#start")
        wait_for_notice(tab, notice)
        tab.click("#start")
    tab.run("testCamera.failure = null")
    tab.click("#start")
    tab.wait_for(f"{ENTRIES} > 0")


def refusal(status: int, code: str) -> dict[str, object]:
    body = json.dumps({"error": {"code": code, "message": "The reason."}})
    return {"status": status, "body": body, "type": "application/json"}


STREAM = {"status": 200, "type": "text/event-stream"}
# Presses until captions are stopped: a press right after a start is not taken.
STOPPED = """(() => {
  const start = document.querySelector("#start");
  if ("running" in start.dataset) start.click();
  return !("running" in start.dataset);
})()"""
SERVER_FAILURES = {
    "frame-busy": refusal(503, "busy"),
    "frame-refused": refusal(400, "bad_image"),
    "frame-upstream": refusal(502, "upstream_failed"),
    "frame-bad_answer": {"status": 200, "body": "<p>Log in", "type": "text/html"},
    "server-gone": {"fails": True},
}


def test_each_failure_of_the_server_has_a_notice(tab):
    for notice, answer in SERVER_FAILURES.items():
        tab.run("testServer.answer = arg", {"route": "/api/captions", **answer})
        tab.click("#start")
        wait_for_notice(tab, notice)
        tab.wait_for(STOPPED)
        tab.run("testServer.answer = null")
        tab.wait_for(f"!({NOTICE})")
    for state, notice in (("failed", "model-failed"), ("loading", "model-loading")):
        body = json.dumps({"state": state, "error": {"code": "x", "message": "The reason."}})
        answer = {"route": "/api/status", "status": 200, "body": body, "type": "application/json"}
        tab.run("testServer.answer = arg", answer)
        # Then the captions wait: the button stays one that starts.
        if state == "failed":
            tab.click("#start")
        wait_for_notice(tab, notice)
    tab.run("testServer.answer = null")
    tab.wait_for(f"{ENTRIES} > 0")


def test_torn_stream_is_no_caption(tab):
    half = 'event: token\\ndata: {"text": "Half a"}\\n\\n'
    answer = {"route": "/api/captions", "body": half, **STREAM}
    tab.run("testServer.answer = arg", answer)
    tab.click("#start")
    wait_for_notice(tab, "server-gone")
    tab.run("testServer.answer = null")
    tab.wait_for(f"{ENTRIES} > 0")
    assert "Half a" not in tab.text(".history-list")


def test_falsified_pictures_are_not_captioned(open_tab, url):
    hardened = {"privacy.resistFingerprinting": True}
    tab = open_tab(url, CANVAS_CAMERA + FAKE_SERVER, **hardened)
    show(tab, Image.new("RGB", (640, 480), "turquoise"))
    tab.click("#start")
    wait_for_notice(tab, "frame-falsified")
    assert "exemptedDomains" in tab.text(".notice-text")
    assert tab.run("testServer.sent") == 0
    assert tab.text("#caption") == ""


def test_the_sample_a_picture_and_a_video_are_captioned(tab, tmp_path):
    texts = "[...document.querySelectorAll('.history-text')].map((one) => one.textContent)"
    sources = "[...document.querySelectorAll('.history-source')].map((one) => one.textContent)"
    tab.click("#try-sample")
    tab.wait_for(f"{texts}.includes('A purple star and a black diamond.')")
    (image, name), (other, other_name) = (one for one, _ in zip(plain_scenes(), "ab", strict=False))
    files = {
        "a.png": ("image/png", png_of(image), name),
        "clip.webm": ("video/webm", write_video(tmp_path / "clip.webm", [other], 1), other_name),
    }
    for file, (type_, content, expected) in files.items():
        data = content if isinstance(content, bytes) else content.read_bytes()
        given = [file, type_, base64.b64encode(data).decode()]
        tab.run(f"({GIVE})(arg)", ["#stage", "drop", [given], ""])
        tab.wait_for(f"{texts}.some((text) => text.toLowerCase().includes(arg))", expected)
        tab.wait_for(f"{sources}.includes(arg)", file)
    tab.wait_for("document.querySelector('.chip-text').textContent === 'Video, at its end'")
    tab.run("document.querySelector('#video').currentTime = 0.4")
    tab.wait_for("document.querySelector('.chip-time').textContent === 'words of 0:00'")


def test_page_in_a_hidden_tab_pauses_and_says_so(tab):
    # A headless Chromium shows all of its tabs; Firefox hides those behind.
    tab.click("#start")
    tab.wait_for(f"{ENTRIES} > 0")
    front = tab.browser.open("about:blank")
    tab.wait_for("document.hidden && document.title.startsWith('Paused')")
    sent = tab.run("testServer.sent")
    front.run("new Promise((resolve) => setTimeout(resolve, 2000))")
    assert tab.run("testServer.sent") <= sent
    front.close()
    tab.wait_for("!document.hidden && !document.title.startsWith('Paused')")
    tab.wait_for("document.querySelector('.history-gap')?.textContent.startsWith('Page hidden')")
