"""Cameras that start badly or throw in broken frames: no caption of such a frame is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from fake_camera import write_camera_file
from known_scenes import plain_scenes
from page_actions import press_start
from unsettled_cameras import glitching_cameras, settling_cameras

SCENE, NAME = next(plain_scenes())
CAMERAS = {
    **{f"starts with {name}": frames for name, frames in settling_cameras(SCENE).items()},
    **{f"throws in {name}": frames for name, frames in glitching_cameras(SCENE).items()},
}
SAMPLE = ("starts with burnt, in steps", "starts with noise", "throws in torn")
STARTS = 20
# A broken frame comes every two seconds.
LOOKS_AFTER_CAPTION_MS = {"starts": 1_000, "throws": 2_500}

# Everything that was announced or kept since the page was opened.
KEEP_TEXTS = """
  window.texts = new Set();
  addEventListener("DOMContentLoaded", () => {
    const read = () => {
      for (const one of document.querySelectorAll("#said, #answer, .history-text"))
        if (one.textContent.trim()) window.texts.add(one.textContent.trim());
    };
    const watched = { childList: true, subtree: true, characterData: true };
    new MutationObserver(read).observe(document.body, watched);
  });
"""


def texts_of_start(page: Page, name: str) -> list[str]:
    """Start, look for a while after the first caption, stop; return what was announced or kept."""
    page.evaluate("window.texts.clear()")
    page.locator(".history-clear").evaluate("(button) => button.click()")
    press_start(page)
    expect(page.locator(".history-entry")).not_to_have_count(0)
    page.wait_for_timeout(LOOKS_AFTER_CAPTION_MS[name.split(maxsplit=1)[0]])
    texts: list[str] = page.evaluate("[...window.texts]")
    press_start(page)
    expect(page.locator("#stage")).not_to_have_attribute("data-live", "")
    return texts


def false_texts(open_page, url: str, folder: Path, name: str, starts: int) -> list[str]:
    camera = write_camera_file(folder / "camera.mjpeg", CAMERAS[name])
    page = open_page(url, camera, init_script=KEEP_TEXTS)
    texts = [text for _ in range(starts) for text in texts_of_start(page, name)]
    assert len(texts) >= starts
    return [text for text in texts if NAME not in text.lower()]


@pytest.mark.parametrize("name", SAMPLE)
def test_broken_pictures_are_not_captioned(open_page, url, tmp_path, name):
    assert false_texts(open_page, url, tmp_path, name, starts=1) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", CAMERAS)
def test_broken_pictures_of_any_kind_are_not_captioned(open_page, url, tmp_path, name):
    assert false_texts(open_page, url, tmp_path, name, starts=STARTS) == []
