"""A real server, and real pages in Chromium and Firefox, whose errors are checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

from chromium import ALLOW_CAMERA, FAKE_CAMERA
from fake_camera import write_camera_file
from firefox import Firefox, Tab, find_firefox
from page_actions import url_of
from state_core import Core
from tools.nano.browser_scenes import QUIET_FLAGS, find_browser
from web_client import SightlineProcess

# Generous, because both cores may be busy: it only keeps a broken test from hanging.
TIMEOUT_MS = 60_000

# Browsers with flags that stay open for later tests.
MAX_BROWSERS = 2

expect.set_options(timeout=TIMEOUT_MS)

OpenPage = Callable[..., Page]
OpenTab = Callable[..., Tab]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def sightline() -> Iterator[SightlineProcess]:
    """One server for all tests that do not stop it; it may still be loading its model."""
    with SightlineProcess() as process:
        yield process


@pytest.fixture(scope="session")
def ready_sightline(sightline: SightlineProcess) -> SightlineProcess:
    sightline.wait_until_ready()
    return sightline


# Not for the session: outside this folder another test may run Playwright in the same thread.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def launch(playwright: Playwright) -> Iterator[Callable[..., Browser]]:
    """`launch(*flags)` returns a Chromium with these flags.

    The one without flags runs to the end, of the others only the latest MAX_BROWSERS: each camera
    needs a browser of its own.
    """
    plain: list[Browser] = []
    others: dict[tuple[str, ...], Browser] = {}
    path = find_browser()

    def start(*flags: str) -> Browser:
        if not flags:
            plain[:] = plain or [new()]
            return plain[0]
        browser = others.pop(flags, None) or new(*flags)
        while len(others) >= MAX_BROWSERS:
            others.pop(next(iter(others))).close()
        others[flags] = browser
        return browser

    def new(*flags: str) -> Browser:
        return playwright.chromium.launch(executable_path=path, args=[*QUIET_FLAGS, *flags])

    yield start
    for browser in [*plain, *others.values()]:
        browser.close()


@pytest.fixture
def open_page(launch: Callable[..., Browser]) -> Iterator[OpenPage]:
    """`open_page(url, camera=FILE)` opens a page in a new browser context.

    - `camera`: a file for Chromium's fake camera, None for a computer without a camera
    - `allow`: whether the page may use the camera
    - `flags`: Chromium's flags
    - `own_clock`: whether the test controls the page's clock
    - `options`: for the browser context

    A test fails if the page sends a request to another host, throws an error, or violates its
    Content-Security-Policy.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

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
        context.set_default_timeout(TIMEOUT_MS)
        if init_script:
            context.add_init_script(init_script)
        own = urlsplit(url).netloc
        context.on("request", lambda request: check_request(request.url, own))
        context.on("console", lambda message: check_console(message.text))
        context.on("weberror", lambda error: errors.append(str(error.error)))
        page = context.new_page()
        if own_clock:
            page.clock.install()
        page.goto(url)
        return page

    def check_request(url: str, own: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data") and parts.netloc != own:
            errors.append(f"request to another host: {url}")

    def check_console(text: str) -> None:
        if "Content Security Policy" in text:
            errors.append(text)

    yield open_
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture(scope="package")
def launch_firefox() -> Iterator[Callable[..., Firefox]]:
    """`launch_firefox(**preferences)` returns a Firefox; the one without preferences runs on."""
    if find_firefox() is None:
        pytest.skip("needs Firefox (Debian: apt install firefox-esr)")
    running: dict[tuple[tuple[str, Any], ...], Firefox] = {}

    def start(**preferences: Any) -> Firefox:
        key = tuple(sorted(preferences.items()))
        if key not in running:
            for other in [each for each in running if each]:
                running.pop(other).close()
            running[key] = Firefox(preferences)
        return running[key]

    yield start
    for browser in running.values():
        browser.close()


@pytest.fixture
def open_tab(launch_firefox: Callable[..., Firefox]) -> Iterator[OpenTab]:
    """`open_tab(url, init_script, **preferences)` opens a page in Firefox.

    A test fails if a page throws an error.
    """
    tabs: list[Tab] = []

    def open_(url: str, init_script: str = "", **preferences: Any) -> Tab:
        tabs.append(launch_firefox(**preferences).open(url, init_script))
        return tabs[-1]

    yield open_
    for tab in tabs:
        tab.close()
    errors = [error for tab in tabs for error in tab.browser.errors]
    for tab in tabs:
        tab.browser.errors.clear()
    assert errors == []


@pytest.fixture
def url(ready_sightline: SightlineProcess) -> str:
    """The address of a server whose model is loaded."""
    return url_of(ready_sightline)


@pytest.fixture(scope="package")
def modules(
    sightline: SightlineProcess, launch: Callable[..., Browser]
) -> Iterator[Callable[..., Any]]:
    """`modules(names, body, arg)` runs `body` in Chromium, with the exports of the modules in `M`.

    The document is not the page, so only the named modules run.
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
    """The page's state core in its initial state."""
    return Core(modules)


@pytest.fixture(scope="session")
def still_camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera on a scene that never changes: red on the left, blue on the right."""
    picture = Image.new("RGB", (640, 480), (200, 40, 40))
    picture.paste((40, 80, 200), (320, 0, 640, 480))
    return write_camera_file(tmp_path_factory.mktemp("camera") / "still.mjpeg", [(picture, 2)])
