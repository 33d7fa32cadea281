"""Standard output and error that never fail for a letter that the console lacks."""

from __future__ import annotations

import io
import os
import sys


def make_consoles_safe() -> None:
    """Print a substitute for each letter that the console cannot show, and nothing without one.

    Consoles of Windows, pipes and the locale C have encodings without most letters; a program
    without a console, such as by pythonw, has no streams at all.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # It stays open as long as the process.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace" if name == "stderr" else "replace")
