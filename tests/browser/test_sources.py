"""A window, files and the sample instead of a camera, with a real model."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from chromium import FAKE_CAMERA
from files_to_show import give, huge_png, png_of, write_video
from known_scenes import plain_scenes
from page_actions import press_start, start, wait_for_caption, wait_for_notice

SCENE_S = 2
FRAME_S = 0.2
TRACK = "document.querySelector('video').srcObject?.getVideoTracks()[0]"
REFUSE_SCREENS = """() => { navigator.mediaDevices.getDisplayMedia = () =>
  Promise.reject(new DOMException("no", "NotAllowedError")); }"""


@pytest.fixture(scope="module")
def scenes() -> list[tuple[Image.Image, str]]:
    found = plain_scenes()
    return [next(found) for _ in range(3)]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, scenes: list[tuple[Image.Image, str]]) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.webm"
    return write_video(path, [image for image, _ in scenes], SCENE_S)


def in_view(page: Page) -> str:
    return page.locator("#caption").inner_text().lower()


def close_notice(page: Page) -> None:
    page.locator(".notice").get_by_role("button", name="Close").click()
    expect(page.locator(".notice")).to_be_hidden()


def test_pictures_by_drop_and_paste_are_captioned_and_asked_about(
    open_page, url, still_camera, scenes
):
    page = open_page(url, still_camera)
    start(page)
    pictures = [(f"{name}.png", "image/png", png_of(image)) for image, name in scenes]
    broken = ("torn.png", "image/png", pictures[0][2][:300])
    # The drop zone is there while files are over the page.
    give(page, "dragenter", pictures[0])
    expect(page.locator("#drop")).to_be_visible()
    assert give(page, "drop", pictures[0], broken, pictures[1]) is False
    expect(page.locator("#drop")).to_be_hidden()
    wait_for_notice(page, "files-refused")
    expect(page.locator(".notice-title")).to_have_text("“torn.png” cannot be shown")
    close_notice(page)
    expect(page.locator("#caption")).to_have_text(re.compile(scenes[0][1], re.IGNORECASE))
    expect(page.locator(".player-count")).to_have_text("1 of 2")
    # A question about it, then the next one, which is captioned when it is seen.
    page.locator("#question-text").fill("What colour?")
    page.keyboard.press("Enter")
    expect(page.locator(".turn-answer")).to_have_count(2)
    page.locator("#later").click()
    expect(page.locator("#caption")).to_have_text(re.compile(scenes[1][1], re.IGNORECASE))
    page.locator("#freeze").click()
    expect(page.locator(".chip-text")).to_contain_text("Live")
    # In a field a text is pasted, even if a program put a picture beside it.
    field = "#question-text"
    assert give(page, "paste", pictures[2], selector=field, text="words") is True
    expect(page.locator("#stage")).not_to_have_attribute("data-frozen", "")
    assert give(page, "paste", ("image.png", "image/png", pictures[2][2]), selector=field) is False
    expect(page.locator(".chip-text")).to_have_text("Pasted picture")
    expect(page.locator("#caption")).to_have_text(re.compile(scenes[2][1], re.IGNORECASE))
    assert {"Pasted picture", pictures[0][0]} <= set(
        page.locator(".history-source").all_text_contents()
    )


def test_words_of_a_video_belong_to_the_place_that_is_shown(
    open_page, url, still_camera, video, scenes
):
    page = open_page(url, still_camera)
    page.locator("#open-file").wait_for()
    page.locator("#files").set_input_files(video)
    expect(page.locator(".chip-text")).to_have_text("Video, at its end")
    last = scenes[-1][1]
    expect(page.locator("#caption")).to_have_text(re.compile(last, re.IGNORECASE))
    page.locator("#open-history").click()
    page.locator(".history-format").select_option("csv")
    with page.expect_download() as saved:
        page.locator(".history-save").click()
    with Path(saved.value.path()).open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "caption"]
    assert {row["source"] for row in rows} == {"clip.webm"}
    for row in rows:
        index = next(at for at, (_, name) in enumerate(scenes) if name in row["text"].lower())
        # The frame that the browser is about to show, or shows for the last moment.
        into_scene = float(row["video time"]) - index * SCENE_S
        assert -FRAME_S <= into_scene <= SCENE_S + FRAME_S
    # Another place, while it stands still.
    for index in (0, 1):
        seconds = index * SCENE_S + 1
        page.locator("#place").evaluate(
            "(place, to) => { place.value = to; place.dispatchEvent(new Event('input')); }", seconds
        )
        expect(page.locator("#caption")).to_have_text(re.compile(scenes[index][1], re.IGNORECASE))
        expect(page.locator(".chip-time")).to_have_text(f"words of 0:0{seconds}")
    page.locator(".history-format").select_option("video.srt")
    with page.expect_download() as saved:
        page.locator(".history-save").click()
    subtitles = Path(saved.value.path()).read_text()
    assert "00:00:01,000 --> " in subtitles and saved.value.suggested_filename.endswith(".srt")
    # It plays on, faster, in a loop; after Stop it goes on from there.
    page.locator("#speed").select_option("4")
    page.locator("#loop").click()
    page.locator("#play").click()
    page.wait_for_function("() => document.querySelector('video').currentTime > 4")
    page.wait_for_function("() => document.querySelector('video').currentTime < 2")
    assert page.evaluate("document.querySelector('video').playbackRate") == 4
    page.keyboard.press("p")
    expect(page.locator(".chip-text")).to_have_text("Video, paused")
    place = page.evaluate("document.querySelector('video').currentTime")
    press_start(page)
    expect(page.locator("#player")).to_be_hidden()
    press_start(page)
    expect(page.locator("#stage")).to_have_attribute("data-live", "")
    assert abs(page.evaluate("document.querySelector('video').currentTime") - place) < FRAME_S
    page.reload()
    wait_for_notice(page, "was-running")
    expect(page.locator(".notice-text")).to_contain_text("choose “clip.webm” again")


def test_bad_files_have_words_and_lose_nothing(open_page, url, still_camera, video, tmp_path):
    page = open_page(url, still_camera)
    start(page)
    whole = video.read_bytes()
    files = {
        "notes.txt": (b"Dear diary", "It is no picture and no video."),
        "empty.png": (b"", "It is empty."),
        "torn.jpg": (b"\xff\xd8\xff\xe0 torn", "damaged"),
        "huge.png": (huge_png(16_000), "too large"),
        "torn.webm": (whole[:200], "cannot be played"),
        "none.mp4": (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "cannot be played"),
    }
    for name, (content, words) in files.items():
        (tmp_path / name).write_bytes(content)
        page.locator("#files").set_input_files(tmp_path / name)
        expect(page.locator(".notice-title")).to_have_text(f"“{name}” cannot be shown")
        expect(page.locator(".notice-text")).to_contain_text(words)
        close_notice(page)
    expect(page.locator(".chip-text")).to_contain_text("Live")
    assert page.evaluate(f"{TRACK}.readyState") == "live"


def test_window_is_shown_ends_and_is_refused(open_page, url, still_camera):
    page = open_page(url, still_camera)
    start(page)
    page.locator("#open-source").click()
    page.get_by_role("button", name="A window or the screen").click()
    expect(page.locator("#source")).to_be_hidden()
    expect(page.locator("#open-source")).to_have_text("The screen")
    expect(page.locator(".history-source").first).to_have_text("The screen")
    # The event that the browser sends when the person stops it there.
    page.evaluate(f"{TRACK}.dispatchEvent(new Event('ended'))")
    wait_for_notice(page, "screen-ended")
    page.get_by_role("button", name="Show it again").click()
    expect(page.locator("#stage")).to_have_attribute("data-live", "")
    press_start(page)
    assert page.evaluate("document.querySelector('video').srcObject") is None
    # Start asks the browser again.
    press_start(page)
    expect(page.locator("#stage")).to_have_attribute("data-live", "")
    page.locator("#open-source").click()
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#stage")).to_have_attribute("data-live", "")
    page.evaluate(REFUSE_SCREENS)
    page.locator("#open-source").click()
    page.get_by_role("button", name="A window or the screen").click()
    wait_for_notice(page, "screen-refused")
    expect(page.locator("#source")).to_be_hidden()
    assert page.evaluate(f"{TRACK}.readyState") == "live"
    close_notice(page)


def test_sample_is_captioned_right_where_there_is_no_camera(open_page, url):
    page = open_page(url, flags=(f"{FAKE_CAMERA}=device-count=0",))
    press_start(page)
    wait_for_notice(page, "camera-missing")
    page.get_by_role("button", name="Try the sample").click()
    wait_for_caption(page)
    expect(page.locator(".chip-text")).to_contain_text("Sample")
    first = page.locator(".history-text").last
    expect(first).to_have_text("A purple star and a black diamond.")
    page.reload()
    wait_for_notice(page, "was-running")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".chip-text")).to_contain_text("Sample")
