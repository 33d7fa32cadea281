"""The server under test: a process of its own with the bundled model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psutil

from tools.bench.over_http import running_server

_FLAGS: Final = ("--model", "nano", "--offline")


class ServerProcess:
    """A running server: its port, memory and processor time."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._process = psutil.Process(pid)

    def memory_mb(self) -> float:
        """Return the resident memory in megabytes."""
        return float(self._process.memory_info().rss / 1e6)

    def processor_s(self) -> float:
        """Return the processor time that the process has used, in seconds."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def is_running(self) -> bool:
        """Return whether the process has not ended; one that has stays a zombie meanwhile."""
        return bool(self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE)


@contextmanager
def stressed_server() -> Iterator[ServerProcess]:
    """Run a server with the bundled model for the block; raise SightlineError if it fails."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("SIGHTLINE_")}
    with running_server(_FLAGS, own) as server:
        yield ServerProcess(server.port, server.pid)
