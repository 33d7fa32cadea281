"""One start as a process of its own: loads, says so, captions, and tells its peak of memory.

`python -m tools.bench.one_start IMAGE PROMPT TOKENS FLAGS...`, where FLAGS are those of `app.py`.
Prints READY once the engine is, then one line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vlm.errors import SightlineError
from vlm.images.decode import decode_image
from vlm.models.loading import load_engine
from vlm.settings import Settings
from vlm.types import Request

READY: Final = "ready"


def peak_rss_bytes() -> int | None:
    """The most memory that this process has held at once; None where the system does not tell."""
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
    """Load, caption the image twice; returns the exit code."""
    file, prompt, tokens, *flags = argv
    try:
        engine = load_engine(Settings.from_args(flags, {}))
        print(READY, flush=True)
        image = decode_image(Path(file).read_bytes())
        for camera in ("first", "second"):
            for _ in engine.stream(Request.about(image, prompt, int(tokens), camera=camera)):
                pass
        print(json.dumps({"peak_rss_bytes": peak_rss_bytes()}), flush=True)
    except SightlineError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
