"""Orca, a real screen reader, says each event of the page once, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Playwright

from firefox import Firefox, find_firefox
from make_believe import make_believe
from model_states import SMALL, loading, models
from screen_reader import ScreenReader, missing_for_screen_reader, screen_reader
from tools.nano.browser_scenes import QUIET_FLAGS, find_browser

# `run(expression)` in the page, and what moves the keyboard from the address bar to the page.
Shown = tuple[Callable[[str], Any], Callable[[], None]]

# The server's status is changed by `testServer.status`; `testServer.error` answers each frame.
FAKE_SERVER = """
  const send = window.fetch;
  window.testServer = { status: {}, error: null };
  window.fetch = async (address, options) => {
    const { status, error } = window.testServer;
    const headers = { "Content-Type": "application/json" };
    if (error && String(address).endsWith("/api/captions"))
      return new Response(JSON.stringify({ error }), { status: 500, headers });
    const answer = await send(address, options);
    if (!String(address).endsWith("/api/status") || !answer.ok) return answer;
    return new Response(JSON.stringify({ ...(await answer.json()), ...status }), { headers });
  };
"""
ASK = """(() => {
  const field = document.querySelector("#question-text");
  field.value = "%s";
  field.form.requestSubmit();
})()"""
FOCUS_QUESTION = "document.querySelector('#question-text').focus()"
FOCUS_START = "document.querySelector('#start').focus()"
PRESS_START = "document.querySelector('#start').click()"
CAPTION = "document.querySelector('#caption').textContent.trim()"
NOTICE = """["title", "text"].map((part) =>
  document.querySelector(`.notice-${part}`).textContent.trim()).join(". ")"""


def cameras(action: str, *args: Any) -> str:
    return f"(window.cameras.{action}({json.dumps(args)[1:-1]}), null)"


def server(field: str, value: Any) -> str:
    return f"(window.testServer.{field} = {json.dumps(value)}, null)"


def literally(text: str) -> str:
    return json.dumps(text)


CHANGING = server("status", {"models": models(change=loading())})
CHANGED = server("status", {"model": SMALL, "models": models(SMALL)})
ERROR = {"code": "internal", "message": "Something went wrong."}
BLUE = cameras("paint", "builtin", "#2040d8", "#fff")
GREEN = cameras("paint", "builtin", "#20a030", "#fff")
ON, BACK = literally("The camera is on."), literally("The camera is back.")
STOPPED = literally("Captions are stopped and the camera is off.")
LOADING, LOADED = literally("Loading SmolVLM 256M."), literally("SmolVLM 256M is captioning now.")
GO_ON = literally("Captions continue.")

# Each event with what brings it about and the texts that are heard, as expressions of the page.
# None: what is said of an element that gets the focus differs with the browser.
EVENTS: list[tuple[str, str, list[str] | None]] = [
    ("focus on the button", FOCUS_START, None),
    ("start", PRESS_START, [ON, CAPTION]),
    ("another camera is plugged in", cameras("plug", "usb"), []),
    ("change", BLUE, [CAPTION]),
    ("another camera is unplugged", cameras("unplug", "usb"), []),
    ("camera lost", cameras("unplug", "builtin"), [NOTICE]),
    ("camera back", cameras("plug", "builtin"), [BACK]),
    ("model is changed", CHANGING, [LOADING]),
    ("model has changed", CHANGED, [LOADED]),
    ("error", f"({server('error', ERROR)}, {GREEN})", [NOTICE]),
    ("error is over", server("error", None), [GO_ON, CAPTION]),
    ("focus on the question", FOCUS_QUESTION, None),
    ("answer", ASK % "What colour is it?", [f"'What colour is it? ' + {CAPTION}"]),
    ("equal answer", ASK % "What colour is it?", [f"'What colour is it? ' + {CAPTION}"]),
    ("focus on the button again", FOCUS_START, None),
    ("stop", PRESS_START, [STOPPED]),
]


@pytest.fixture(scope="module")
def reader() -> Iterator[ScreenReader]:
    if missing := missing_for_screen_reader():
        pytest.skip(missing)
    with screen_reader() as running:
        yield running


@contextmanager
def chromium(
    playwright: Playwright, reader: ScreenReader, url: str, script: str
) -> Iterator[Shown]:
    flags = [flag for flag in QUIET_FLAGS if flag != "--headless"]
    browser = playwright.chromium.launch(
        executable_path=find_browser(),
        headless=False,
        args=[*flags, "--force-renderer-accessibility"],
        env={**reader.environment},
    )
    page = browser.new_page()
    page.add_init_script(script)
    page.goto(url)
    yield page.evaluate, lambda: page.mouse.click(5, 300)
    browser.close()


@contextmanager
def firefox(playwright: Playwright, reader: ScreenReader, url: str, script: str) -> Iterator[Shown]:
    if find_firefox() is None:
        pytest.skip("needs Firefox (Debian: apt install firefox-esr)")
    browser = Firefox(display=reader.environment)
    yield browser.open(url, script).run, lambda: None
    browser.close()


@pytest.mark.slow
@pytest.mark.parametrize("browser", [chromium, firefox])
def test_each_event_of_a_session_is_heard_once_and_nothing_else(reader, playwright, url, browser):
    script = make_believe(connected=["builtin"]) + FAKE_SERVER
    with browser(playwright, reader, url, script) as (run, enter):
        loaded = reader.heard(at_least=1)
        assert loaded.count("Finished loading Sightline") == 1, loaded
        assert loaded.count(run("document.querySelector('.welcome-lead').textContent")) <= 1, loaded
        assert "status" not in loaded, loaded
        enter()
        reader.heard()
        for event, cause, texts in EVENTS:
            run(cause)
            heard = reader.heard(at_least=len(texts or []))
            if texts is not None:
                check_heard(event, heard, [run(text) for text in texts])


def check_heard(event: str, heard: str, texts: list[str]) -> None:
    """Each of `texts` was heard once, whole, and nothing else."""
    rest = heard
    for text in texts:
        assert text and rest.count(text) == 1, f"{event}: {text!r} in {heard!r}"
        rest = rest.replace(text, "")
    assert not rest.strip(), f"{event}: {rest!r} in {heard!r}"
