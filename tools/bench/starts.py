"""Time and memory of a start, with an empty cache and from a full one.

Each start is a process of its own: `python -m tools.bench.starts IMAGE PROMPT TOKENS FLAGS...`,
with the FLAGS of `app.py`, prints READY when the engine is loaded, then one line of JSON. It
imports nothing else of the benchmark: that would be measured too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vlm.errors import SightlineError
from vlm.images.decode import decode_image
from vlm.models.loading import load_engine
from vlm.settings import Settings
from vlm.types import Request

if TYPE_CHECKING:
    from tools.bench.measurements import Measured
    from tools.bench.setup import Setup

READY: Final = "ready"


@dataclass(frozen=True)
class Start:
    # Seconds from the start of the process to a loaded engine.
    ready_s: float
    # Peak of resident memory after two captions; None if the system does not report it.
    peak_rss_bytes: int | None


def measure_starts(setup: Setup, measured: Measured) -> None:
    """Measure one start that converts the model, then starts that find it converted."""
    starts = setup.options.starts
    for number in range(starts + 1 if starts else 0):
        setup.say(f"Start {number} of {starts} from the cache." if number else "A cold start.")
        start = _start(setup)
        measured.add("load_cached_s" if number else "load_cold_s", start.ready_s)
        if number and start.peak_rss_bytes is not None:
            measured.add("peak_rss_mb", start.peak_rss_bytes / 1e6)


def _start(setup: Setup) -> Start:
    """Run one start to its end; raise SightlineError with the child's message if it fails."""
    options = setup.options
    arguments = [str(setup.image_file), options.prompt, str(options.tokens), *setup.settings_flags]
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "tools.bench.starts", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=setup.child_environment(),
    ) as process:
        assert process.stdout is not None
        ready_s, last = None, ""
        for line in process.stdout:
            last = line
            if line.strip() == READY:
                ready_s = time.perf_counter() - started
    try:
        report = json.loads(last)
    except ValueError:
        report = {}
    if ready_s is None or "peak_rss_bytes" not in report:
        ended = f"The started process exited with code {process.returncode}."
        raise SightlineError(report.get("error", ended))
    return Start(ready_s, report["peak_rss_bytes"])


def peak_rss_bytes() -> int | None:
    """Return this process's peak of resident memory; None if the system does not report it."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="utf-8").splitlines()
        peak = next((line.split() for line in lines if line.startswith("VmHWM:")), None)
        if peak is not None:
            return int(peak[1]) * 1024
    if sys.platform == "win32":
        return None
    import resource

    peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_rss if sys.platform == "darwin" else peak_rss * 1024


def main(argv: Sequence[str]) -> int:
    """Load, caption the image twice; return the exit code."""
    file, prompt, tokens, *flags = argv
    try:
        engine = load_engine(Settings.from_args(flags, {}))
        print(READY, flush=True)
        image = decode_image(Path(file).read_bytes())
        for camera in ("first", "second"):
            engine.run(Request.about(image, prompt, int(tokens), camera=camera))
        print(json.dumps({"peak_rss_bytes": peak_rss_bytes()}), flush=True)
    except SightlineError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
