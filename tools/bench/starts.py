"""How long a start takes, with an empty cache and from a full one, and how much memory it needs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass

from tools.bench.children import child_environment
from tools.bench.one_start import READY
from tools.bench.setup import Measured, Setup
from vlm.errors import SightlineError


@dataclass(frozen=True)
class Start:
    """From the start of the process to an engine that is ready, and its peak while it captioned."""

    ready_s: float
    peak_rss_bytes: int | None


def measure_starts(setup: Setup, measured: Measured) -> None:
    """One start that has to convert the model first, and then those that find it converted."""
    starts = setup.options.starts
    for number in range(starts + 1 if starts else 0):
        setup.say(f"Start {number} of {starts} from the cache." if number else "A cold start.")
        start = _start(setup)
        measured.add("load_cached_s" if number else "load_cold_s", start.ready_s)
        if number and start.peak_rss_bytes is not None:
            measured.add("peak_rss_mb", start.peak_rss_bytes / 1e6)


def _start(setup: Setup) -> Start:
    """Start once, wait until it is ready, let it caption the frame, and wait for its end.

    Raises SightlineError with the child's own words where it cannot.
    """
    options = setup.options
    arguments = [str(setup.image_file), options.prompt, str(options.tokens), *setup.settings_flags]
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "tools.bench.one_start", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=child_environment(setup.cache_folder),
    ) as process:
        assert process.stdout is not None
        ready_s, last = None, ""
        for line in process.stdout:
            last = line
            if line.strip() == READY:
                ready_s = time.perf_counter() - started
    try:
        told = json.loads(last)
    except ValueError:
        told = {}
    if ready_s is None or "peak_rss_bytes" not in told:
        ended = f"The process that was started ended with code {process.returncode}."
        raise SightlineError(told.get("error", ended))
    return Start(ready_s, told["peak_rss_bytes"])
