"""Downloading and switching models from the page, with a model hub on loopback."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from fake_camera import FRAMES_PER_S, write_camera_file
from hub_server import Fault, HubServer
from known_scenes import plain_scenes
from model_states import SMALL_TITLE
from page_actions import press_start, start, told, url_of, wait_for_card, wait_for_new_caption
from web_client import SightlineProcess

HUB_ID = "HuggingFaceTB/SmolVLM-256M-Instruct"
# Slow enough that no download ends before the test raises the rate.
SLOW_BYTES_PER_S = 200_000
CONVERSION_MS = 240_000
AMOUNTS = re.compile(r"\d of \d+(\.\d)? MB, .+ [Mk]B/s, .+ left")
NEXT_BAR_VALUE = """(seen) => {
  const bar = document.querySelector(".model-card-bar");
  const isNew = bar.checkVisibility() && bar.position > 0 && !seen.includes(bar.value);
  return isNew && { value: bar.value };
}"""

Serve = Callable[[Path], HubServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(folder)` starts a hub that serves `folder` as SmolVLM-256M."""
    hubs: list[HubServer] = []

    def start_hub(folder: Path) -> HubServer:
        hubs.append(HubServer({HUB_ID: folder}))
        return hubs[-1]

    yield start_hub
    for hub in hubs:
        hub.close()


@pytest.fixture
def hub(serve: Serve, endless_dir: Path) -> HubServer:
    """A hub whose SmolVLM-256M is a small model with random weights."""
    return serve(endless_dir)


@contextmanager
def first_start(hub: HubServer, home: Path, *args: str) -> Iterator[SightlineProcess]:
    """Run `python app.py` in an empty home; it may still be loading its first model.

    Only the cache of converted models is shared with other tests, to save time.
    """
    fresh = {"HOME": str(home), "SIGHTLINE_OFFLINE": "0"}
    with SightlineProcess(args, hub.env(home / "hf") | fresh) as sightline:
        yield sightline


def wait_for_captions_by(page: Page, title: str) -> None:
    """Wait until the badge names the model and a frame sent since then is captioned."""
    expect(page.locator(".badge-text")).to_contain_text(f"{title} on")
    # The first may have been in flight before.
    wait_for_new_caption(page)
    wait_for_new_caption(page)


def bar_values(page: Page, count: int) -> list[float]:
    """Return the next `count` different values of the bar."""
    values: list[float] = []
    while len(values) < count:
        values.append(page.wait_for_function(NEXT_BAR_VALUE, arg=values).json_value()["value"])
    return values


@pytest.fixture(scope="module")
def changing_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera on two alternating scenes, so that each frame needs a caption."""
    scenes = [(picture, FRAMES_PER_S // 2) for picture, _ in islice(plain_scenes(), 2)]
    return write_camera_file(tmp_path_factory.mktemp("camera") / "camera.mjpeg", scenes)


def check_first_start(page: Page, hub: HubServer) -> None:
    """Press start only, and follow the first start until the larger model captions."""
    press_start(page)
    wait_for_captions_by(page, "nano")
    wait_for_card(page, "fetching")
    values = bar_values(page, 3)
    assert values == sorted(values)
    expect(page.locator(".model-card-text")).to_have_text(AMOUNTS)
    wait_for_captions_by(page, "nano")
    wait_for_card(page, "fetching")
    hub.bytes_per_s = None
    # Download, check and conversion of the exact shape take a minute on two cores.
    expect(page.locator("#model-card")).to_have_attribute(
        "data-change", "swapped", timeout=CONVERSION_MS
    )
    expect(told(page, "news").filter(has_text="SmolVLM 256M is captioning now.")).to_have_count(1)
    wait_for_captions_by(page, SMALL_TITLE)


def test_first_start_leads_to_captions_by_the_larger_model(
    open_page, hub, changing_camera, tmp_path
):
    hub.bytes_per_s = SLOW_BYTES_PER_S
    with first_start(hub, tmp_path / "home") as sightline:
        check_first_start(open_page(url_of(sightline), changing_camera), hub)


@pytest.mark.slow
def test_first_start_works_with_the_published_shape(
    open_page, serve, exact_shape_dir, changing_camera, tmp_path
):
    hub = serve(exact_shape_dir)
    hub.bytes_per_s = 40 * SLOW_BYTES_PER_S
    with first_start(hub, tmp_path / "home") as sightline:
        check_first_start(open_page(url_of(sightline), changing_camera), hub)


def test_failed_download_is_shown_and_can_be_retried(open_page, hub, changing_camera, tmp_path):
    hub.faults.append(Fault("/api/models/", status=500))
    with first_start(hub, tmp_path / "home") as sightline:
        page = open_page(url_of(sightline), changing_camera)
        press_start(page)
        wait_for_card(page, "problem")
        expect(page.locator(".model-card-text")).to_contain_text("500")
        expect(page.locator(".model-card-text")).to_contain_text("Captions continue with nano.")
        wait_for_captions_by(page, "nano")
        hub.faults.clear()
        hub.bytes_per_s = SLOW_BYTES_PER_S
        page.get_by_role("button", name="Try again").click()
        wait_for_card(page, "fetching")
        bar_values(page, 1)
        page.locator("#model-card").get_by_role("button", name="Cancel").click()
        wait_for_card(page, "cancelled")
        wait_for_captions_by(page, "nano")


def test_models_are_downloaded_and_switched_from_the_list(open_page, hub, still_camera, tmp_path):
    hub.bytes_per_s = SLOW_BYTES_PER_S
    # With a model named, nothing is downloaded automatically.
    with first_start(hub, tmp_path / "home", "--model", "nano") as sightline:
        page = open_page(url_of(sightline), still_camera)
        start(page)
        by_nano = page.locator("#caption").text_content()
        page.locator("#open-preferences").click()
        models = page.locator("#models")
        models.get_by_role("button", name="Download SmolVLM 256M", exact=True).click()
        wait_for_card(page, "fetching")
        other = models.get_by_role("button", name="SmolVLM2 256M Video")
        expect(other).to_have_attribute("aria-disabled", "true")
        hub.bytes_per_s = None
        wait_for_card(page, "swapped")
        # The scene has not changed, but the new model captions it all the same.
        expect(page.locator("#caption")).not_to_have_text(by_nano)
        expect(page.locator(".badge-text")).to_contain_text(f"{SMALL_TITLE} on")
        models.get_by_role("button", name="Use nano").click()
        expect(page.locator(".badge-text")).to_contain_text("nano on")
        expect(page.locator("#caption")).to_have_text(by_nano)
        assert by_nano in page.locator(".history-text").last.text_content()
        models.get_by_role("button", name=f"Use {SMALL_TITLE}").click()
        expect(page.locator(".badge-text")).to_contain_text(f"{SMALL_TITLE} on")
        assert len(hub.requests_for("model.safetensors")) == 1
