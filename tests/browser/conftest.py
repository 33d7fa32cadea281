"""A real server, and real Chromium pages whose every request and complaint is watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chromium import ALLOW_CAMERA, FAKE_CAMERA
from fake_camera import write_camera_file
from person import url_of
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Playwright,
    expect,
    sync_playwright,
)
from state_core import Core

from tools.nano.browser_scenes import QUIET_FLAGS, find_browser
from web_client import SightlineProcess

# Two cores may be busy with other things; this only keeps a broken test from hanging.
PATIENCE_MS = 60_000

expect.set_options(timeout=PATIENCE_MS)

OpenPage = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def sightline() -> Iterator[SightlineProcess]:
    """One server for all tests that leave it running; it may still be loading its model."""
    with SightlineProcess() as process:
        yield process


@pytest.fixture(scope="session")
def ready_sightline(sightline: SightlineProcess) -> SightlineProcess:
    sightline.wait_until_ready()
    return sightline


# By module, not by session: no other test may run Playwright in the same thread meanwhile.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def launch(playwright: Playwright) -> Iterator[Callable[..., Browser]]:
    """`launch(*flags)` gives a Chromium with these flags, the same one for the same flags."""
    found: dict[tuple[str, ...], Browser] = {}
    path = find_browser()

    def start(*flags: str) -> Browser:
        if flags not in found:
            args = [*QUIET_FLAGS, *flags]
            found[flags] = playwright.chromium.launch(executable_path=path, args=args)
        return found[flags]

    yield start
    for browser in found.values():
        browser.close()


@pytest.fixture
def open_page(launch: Callable[..., Browser]) -> Iterator[OpenPage]:
    """`open_page(url, camera=FILE)` opens a page that a person has not been to before.

    `flags` are Chromium's, `camera` a file for its fake camera (None for a computer without one),
    `allow` whether the person lets the page use it, `own_clock` whether the test may stop the
    page's clock; the rest goes to the browser context.

    When the test ends, nothing may have been asked of another host, and nothing may have gone wrong
    in the page's scripts or against its Content-Security-Policy.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_(
        url: str,
        camera: Path | None = None,
        allow: bool = True,
        flags: tuple[str, ...] = (),
        init_script: str | None = None,
        own_clock: bool = False,
        **options: Any,
    ) -> Page:
        if camera is not None:
            flags = (*flags, FAKE_CAMERA, f"--use-file-for-fake-video-capture={camera}")
        context = launch(*flags, *([ALLOW_CAMERA] if allow else [])).new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        if init_script:
            context.add_init_script(init_script)
        own = urlsplit(url).netloc
        context.on("request", lambda request: check_request(request.url, own))
        context.on("console", lambda message: check_console(message.text))
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        page = context.new_page()
        if own_clock:
            page.clock.install()
        page.goto(url)
        return page

    def check_request(url: str, own: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data") and parts.netloc != own:
            complaints.append(f"asked of another host: {url}")

    def check_console(text: str) -> None:
        if "Content Security Policy" in text:
            complaints.append(text)

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def url(ready_sightline: SightlineProcess) -> str:
    """The page of a server that can caption."""
    return url_of(ready_sightline)


@pytest.fixture(scope="module")
def modules(
    sightline: SightlineProcess, launch: Callable[..., Browser]
) -> Iterator[Callable[..., Any]]:
    """`modules(names, body, arg)` runs `body` in Chromium, with the named modules' exports in `M`.

    The document is not the page itself, so nothing but the named modules runs.
    """
    page = launch().new_page()
    page.goto(f"{url_of(sightline)}healthz")

    def run(names: str, body: str, arg: Any = None) -> Any:
        return page.evaluate(
            """async ([names, arg]) => {
              const load = (name) => import(`/static/js/${name}.js`);
              const M = Object.assign({}, ...(await Promise.all(names.split(" ").map(load))));
              """
            + body
            + "}",
            [names, arg],
        )

    yield run
    page.close()


@pytest.fixture
def core(modules: Callable[..., Any]) -> Core:
    """The page's state core, at its beginning."""
    return Core(modules)


@pytest.fixture(scope="session")
def still_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera before a scene that never changes: a red half and a blue half."""
    picture = Image.new("RGB", (640, 480), (200, 40, 40))
    picture.paste((40, 80, 200), (320, 0, 640, 480))
    return write_camera_file(tmp_path_factory.mktemp("camera") / "still.mjpeg", [(picture, 2)])
