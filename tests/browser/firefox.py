"""Firefox for tests, over its own WebDriver BiDi, since Playwright drives only a patched Firefox.

https://w3c.github.io/webdriver-bidi/
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import websocket

PROGRAMS = ("firefox-esr", "firefox")
# Only keeps a broken test from hanging.
HANG_GUARD_S = 60.0
_POLL_S = 0.05

# Firefox's own test camera, allowed without a prompt, and no connection that the page did not make.
_PREFERENCES = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    # WebDriver BiDi alone.
    "remote.active-protocols": 1,
}


def find_firefox() -> str | None:
    """Return the path of an installed Firefox, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Firefox:
    """A running Firefox with a new profile."""

    def __init__(
        self,
        preferences: Mapping[str, str | bool | int] | None = None,
        display: Mapping[str, str] | None = None,
    ) -> None:
        """`display`: the environment with the screen to be shown on; without it, on none."""
        program = find_firefox()
        assert program is not None, "no Firefox is installed"
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in {**_PREFERENCES, **(preferences or {})}.items()
        ]
        (Path(self._profile.name) / "user.js").write_text("".join(lines))
        options = ["--no-remote", "--remote-debugging-port", "0"]
        if display is None:
            options.append("--headless")
        self._process = subprocess.Popen(
            [program, "--profile", self._profile.name, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            # Started by root, Firefox refuses a home that belongs to another user.
            env={**(display or os.environ), "HOME": self._profile.name},
            text=True,
        )
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{self._read_port()}/session",
            timeout=HANG_GUARD_S,
            # With an origin, Firefox takes it for a web page and refuses it.
            suppress_origin=True,
        )
        self._last_id = 0
        self.errors: list[str] = []
        """Exceptions that no script of a page caught."""
        self.send("session.new", capabilities={})
        self.send("session.subscribe", events=["log.entryAdded"])

    def open(self, url: str, init_script: str = "") -> Tab:
        """Open `url` in a tab without the cookies and storage of others.

        `init_script` runs before the page's own scripts.
        """
        user = self.send("browser.createUserContext")["userContext"]
        context = self.send("browsingContext.create", type="tab", userContext=user)["context"]
        if init_script:
            self.send(
                "script.addPreloadScript",
                functionDeclaration=f"() => {{ {init_script} }}",
                contexts=[context],
            )
        self.send("browsingContext.navigate", context=context, url=url, wait="complete")
        return Tab(self, context, user)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; raise AssertionError if it fails."""
        self._last_id += 1
        self._socket.send(json.dumps({"id": self._last_id, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("type") == "event":
                self._note_error(message["params"])
            elif message.get("id") == self._last_id:
                assert message["type"] == "success", f"{method}: {message}"
                result: dict[str, Any] = message["result"]
                return result

    def close(self) -> None:
        """End the browser."""
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(HANG_GUARD_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()
        self._profile.cleanup()

    def _read_port(self) -> int:
        assert self._process.stderr is not None
        guard = threading.Timer(HANG_GUARD_S, self._process.kill)
        guard.start()
        lines = []
        try:
            for line in self._process.stderr:
                lines.append(line)
                if match := re.search(r"BiDi listening on ws://127\.0\.0\.1:(\d+)", line):
                    return int(match[1])
        finally:
            guard.cancel()
        raise AssertionError(f"Firefox did not start: {''.join(lines)}")

    def _note_error(self, entry: Mapping[str, Any]) -> None:
        if entry.get("type") == "javascript" and entry.get("level") == "error":
            self.errors.append(str(entry.get("text")))


class Tab:
    """One page of a Firefox."""

    def __init__(self, browser: Firefox, context: str, user: str) -> None:
        self.browser = browser
        self._context = context
        self._user = user

    def run(self, expression: str, arg: Any = None) -> Any:
        """Return the value, as JSON has it, of a JavaScript expression; `arg` is one in it.

        It runs as if the person had just pressed a key.
        """
        script = f"(async (arg) => JSON.stringify((await ({expression})) ?? null))"
        reply = self.browser.send(
            "script.evaluate",
            expression=f"{script}({json.dumps(arg)})",
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        assert reply["type"] == "success", reply["exceptionDetails"]["text"]
        return json.loads(reply["result"]["value"])

    def wait_for(self, expression: str, arg: Any = None) -> None:
        """Return when a JavaScript expression is true."""
        limit = time.monotonic() + HANG_GUARD_S
        while not self.run(f"Boolean({expression})", arg):
            assert time.monotonic() < limit, f"{expression} never came"
            time.sleep(_POLL_S)

    def click(self, selector: str) -> None:
        """Press the element."""
        self.run("document.querySelector(arg).click()", selector)

    def text(self, selector: str) -> str:
        """Return the text of the element."""
        return str(self.run("document.querySelector(arg).textContent", selector))

    def go_to(self, url: str) -> None:
        """Leave the page for another one."""
        self.browser.send(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    def go_back(self) -> None:
        """Press "Back"; the page may not be there yet."""
        self.browser.send("browsingContext.traverseHistory", context=self._context, delta=-1)

    def close(self) -> None:
        """Close the tab and forget its storage."""
        self.browser.send("browser.removeUserContext", userContext=self._user)
