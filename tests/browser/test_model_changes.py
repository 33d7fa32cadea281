"""From an empty home to a published model captioning in the page, through a hub on loopback."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
from fake_camera import FRAMES_PER_S, write_camera_file
from known_scenes import plain_scenes
from person import card, press_start, start, url_of, wait_for_new_caption
from playwright.sync_api import Page, expect
from told_models import SMALL_TITLE

from hub_server import Fault, HubServer
from web_client import SightlineProcess

HUB_ID = "HuggingFaceTB/SmolVLM-256M-Instruct"
# Slow enough that no fetch ends before it is let go on, however busy the machine is.
SLOW_BYTES_PER_S = 200_000
CONVERTING_MS = 240_000
AMOUNTS = re.compile(r"\d of \d+(\.\d)? MB, .+ [Mk]B/s, .+ left")
NEXT_BAR_VALUE = """(seen) => {
  const bar = document.querySelector(".model-card-bar");
  const isNew = bar.checkVisibility() && bar.position > 0 && !seen.includes(bar.value);
  return isNew && { value: bar.value };
}"""

Serve = Callable[[Path], HubServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(folder)` gives a hub on which `folder` is SmolVLM-256M."""
    hubs: list[HubServer] = []

    def start_hub(folder: Path) -> HubServer:
        hubs.append(HubServer({HUB_ID: folder}))
        return hubs[-1]

    yield start_hub
    for hub in hubs:
        hub.close()


@pytest.fixture
def hub(serve: Serve, endless_dir: Path) -> HubServer:
    """SmolVLM-256M is a small model with random weights here."""
    return serve(endless_dir)


@contextmanager
def first_start(hub: HubServer, home: Path, *args: str) -> Iterator[SightlineProcess]:
    """`python app.py` in an empty home; it may still be loading its first model.

    Only what other tests have converted already is taken from them, for time's sake.
    """
    fresh = {"HOME": str(home), "SIGHTLINE_OFFLINE": "0"}
    with SightlineProcess(args, hub.env(home / "hf") | fresh) as sightline:
        yield sightline


def captions_by(page: Page, title: str) -> None:
    """Waits until the badge names that model and a frame sent since is captioned."""
    expect(page.locator(".badge-text")).to_contain_text(f"{title} on")
    # The first may have been under way before.
    wait_for_new_caption(page)
    wait_for_new_caption(page)


def bar_values(page: Page, count: int) -> list[float]:
    """So many different values of the bar, as they come."""
    values: list[float] = []
    while len(values) < count:
        values.append(page.wait_for_function(NEXT_BAR_VALUE, arg=values).json_value()["value"])
    return values


@pytest.fixture
def changing_camera(tmp_path: Path) -> Path:
    """A camera before two scenes by turns, so that there is always something to caption."""
    scenes = [(picture, FRAMES_PER_S // 2) for picture, _ in islice(plain_scenes(), 2)]
    return write_camera_file(tmp_path / "camera.mjpeg", scenes)


def leads_to_the_larger_model(page: Page, hub: HubServer) -> None:
    """Presses start and nothing else, and watches a first start to its end."""
    press_start(page)
    captions_by(page, "nano")
    card(page, "fetching")
    values = bar_values(page, 3)
    assert values == sorted(values)
    expect(page.locator(".model-card-text")).to_have_text(AMOUNTS)
    captions_by(page, "nano")
    card(page, "fetching")
    hub.bytes_per_s = None
    # The exact shape takes a minute to be fetched, checked and converted on two cores.
    expect(page.locator("#model-card")).to_have_attribute(
        "data-change", "swapped", timeout=CONVERTING_MS
    )
    expect(page.locator("#announcer")).to_contain_text("SmolVLM 256M is captioning now.")
    captions_by(page, SMALL_TITLE)


def test_an_empty_home_and_one_command_lead_to_the_larger_model_captioning(
    open_page, hub, changing_camera, tmp_path
):
    hub.bytes_per_s = SLOW_BYTES_PER_S
    with first_start(hub, tmp_path / "home") as sightline:
        leads_to_the_larger_model(open_page(url_of(sightline), changing_camera), hub)


@pytest.mark.slow
def test_so_they_do_with_the_published_shape(
    open_page, serve, exact_shape_dir, changing_camera, tmp_path
):
    hub = serve(exact_shape_dir)
    hub.bytes_per_s = 40 * SLOW_BYTES_PER_S
    with first_start(hub, tmp_path / "home") as sightline:
        leads_to_the_larger_model(open_page(url_of(sightline), changing_camera), hub)


def test_what_a_hub_gets_wrong_is_told_and_tried_again_when_a_person_says_so(
    open_page, hub, changing_camera, tmp_path
):
    hub.faults.append(Fault("/api/models/", status=500))
    with first_start(hub, tmp_path / "home") as sightline:
        page = open_page(url_of(sightline), changing_camera)
        press_start(page)
        card(page, "problem")
        expect(page.locator(".model-card-text")).to_contain_text("500")
        expect(page.locator(".model-card-text")).to_contain_text("nano goes on captioning.")
        captions_by(page, "nano")
        hub.faults.clear()
        hub.bytes_per_s = SLOW_BYTES_PER_S
        page.get_by_role("button", name="Try again").click()
        card(page, "fetching")
        bar_values(page, 1)
        page.locator("#model-card").get_by_role("button", name="Cancel").click()
        card(page, "cancelled")
        captions_by(page, "nano")


def test_models_are_fetched_and_changed_from_the_list_while_captions_go_on(
    open_page, hub, still_camera, tmp_path
):
    hub.bytes_per_s = SLOW_BYTES_PER_S
    # Named, it fetches nothing by itself.
    with first_start(hub, tmp_path / "home", "--model", "nano") as sightline:
        page = open_page(url_of(sightline), still_camera)
        start(page)
        by_nano = page.locator("#caption").text_content()
        page.locator("#open-preferences").click()
        models = page.locator("#models")
        models.get_by_role("button", name=re.compile(r"Fetch \d+ MB SmolVLM 256M")).click()
        card(page, "fetching")
        other = models.get_by_role("button", name="SmolVLM2 256M Video")
        expect(other).to_have_attribute("aria-disabled", "true")
        hub.bytes_per_s = None
        card(page, "swapped")
        # The scene stands still, and the new model is shown it all the same.
        expect(page.locator("#caption")).not_to_have_text(by_nano)
        expect(page.locator(".badge-text")).to_contain_text(f"{SMALL_TITLE} on")
        models.get_by_role("button", name="Use nano").click()
        expect(page.locator(".badge-text")).to_contain_text("nano on")
        expect(page.locator("#caption")).to_have_text(by_nano)
        assert by_nano in page.locator(".history-text").last.text_content()
        models.get_by_role("button", name=f"Use {SMALL_TITLE}").click()
        expect(page.locator(".badge-text")).to_contain_text(f"{SMALL_TITLE} on")
        assert len(hub.requests_for("model.safetensors")) == 1
