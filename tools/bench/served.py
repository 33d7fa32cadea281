"""A real server on this machine, started for the bench and ended with it."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tools.bench.children import ROOT, child_environment
from tools.bench.setup import Setup
from vlm.errors import SightlineError

HOST: Final = "127.0.0.1"

_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.05


@dataclass(frozen=True)
class Served:
    """Where a server listens on HOST, and its process."""

    port: int
    pid: int


@contextmanager
def served(setup: Setup) -> Iterator[Served]:
    """A server that listens on this machine alone, ready to caption; ended afterwards.

    Raises SightlineError with the server's own words where it cannot.
    """
    command = [sys.executable, str(ROOT / "app.py"), "--host", HOST, "--port", "0"]
    with subprocess.Popen(
        [*command, "--log-requests", "off", *setup.settings_flags],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=child_environment(setup.cache_folder),
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://[^ ]*:(\d+)", process.stdout.readline())
            if found is None:
                raise SightlineError("The server did not start.")
            port = int(found[1])
            wait_until_ready(HOST, port)
            yield Served(port, process.pid)
        finally:
            process.terminate()
            # Read to the end: it would complain of a pipe that nobody listens at.
            process.communicate()


def wait_until_ready(host: str, port: int) -> dict[str, Any]:
    """What the server says of itself once it can caption; raises SightlineError where it cannot."""
    while True:
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", "/api/status")
            status: dict[str, Any] = json.loads(connection.getresponse().read())
            state = status["state"]
        except (OSError, http.client.HTTPException) as error:
            raise SightlineError(f"The server does not answer: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise SightlineError("What answers there is no Sightline.") from error
        finally:
            connection.close()
        if state == "failed":
            raise SightlineError(status["error"]["message"])
        if state == "ready":
            return status
        time.sleep(_POLL_S)
