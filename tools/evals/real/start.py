"""From a first start of the server to a right caption of a photograph."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from tools.evals.figures import Figure
from tools.evals.photographs import ROOT
from vlm.errors import SightlineError

_HOST: Final = "127.0.0.1"
_LIMIT_S: Final = 120.0
_RETRY_S: Final = 0.1
_TIMEOUT_S: Final = 60.0
# A request to another machine fails at once.
_DEAD_PROXIES: Final = {
    name: "http://127.0.0.1:9" for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
}


def start_figures(photo: Path, right: Collection[str]) -> list[Figure]:
    """Return the seconds until a caption of `photo` has one of the `right` names."""
    jpeg = photo.read_bytes()
    with tempfile.TemporaryDirectory(prefix="sightline-evals-", ignore_cleanup_errors=True) as home:
        environment = _environment(Path(home))
        command = [sys.executable, str(ROOT / "app.py"), "--host", _HOST, "--port", "0"]
        started_s = time.perf_counter()
        with subprocess.Popen(
            [*command, "--offline", "--log-requests", "off"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env=environment,
            cwd=home,
        ) as process:
            try:
                assert process.stdout is not None
                address = re.search(r"http://[^ ]*:(\d+)", process.stdout.readline())
                if address is None:
                    raise SightlineError("The server did not start.")
                text = _first_right_caption(int(address[1]), jpeg, right, started_s)
                seconds = time.perf_counter() - started_s
            finally:
                process.terminate()
                # Read to the end: the server would report a broken pipe.
                process.communicate()
    return [Figure("first_s", seconds, most=15.0, note=f'"{text}"')]


def _environment(home: Path) -> Mapping[str, str]:
    """Return the environment of a process with empty caches and no way to the network."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SIGHTLINE_", "HF_", "XDG_")) and "proxy" not in name.lower()
    }
    return kept | _DEAD_PROXIES | {"NO_PROXY": _HOST, "HOME": str(home)}


def _first_right_caption(port: int, jpeg: bytes, right: Collection[str], started_s: float) -> str:
    text = ""
    while time.perf_counter() - started_s < _LIMIT_S:
        answer = _caption(port, jpeg)
        if answer is not None:
            text = answer
            if any(name in text for name in right):
                return text
        time.sleep(_RETRY_S)
    raise SightlineError(f'No right caption came within {_LIMIT_S:.0f} s; the last is "{text}".')


def _caption(port: int, jpeg: bytes) -> str | None:
    """Return the caption of a frame; None if the server is not ready for one."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=_TIMEOUT_S)
    try:
        headers = {"Content-Type": "image/jpeg"}
        connection.request("POST", "/api/captions?camera=evals", jpeg, headers)
        response = connection.getresponse()
        if response.status != http.client.OK:
            return None
        return text_of(response.read().decode("utf-8"))
    except OSError:
        return None
    finally:
        connection.close()


def text_of(events: str) -> str | None:
    """Return the whole text of a stream of server-sent events; None if it ended with an error."""
    for block in events.split("\n\n"):
        name, _, data = block.partition("\ndata: ")
        if name.endswith("event: done"):
            done: dict[str, Any] = json.loads(data)
            return str(done["text"])
    return None
