"""Runs the converter as a process of its own, and says what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

# What the lines of the converter's standard output begin with; others are not ours.
PROGRESS: Final = "progress: "
FAILED: Final = "failed: "
NOT_WRITTEN: Final = "not written: "

_ROOT: Final = Path(__file__).resolve().parents[2]


class ConversionError(Exception):
    """The checkpoint could not be converted; the message is one line of reason."""


def convert_in_a_process(
    checkpoint: Path, out: Path, options: list[str], on_progress: Callable[[str], None]
) -> None:
    """Fill the folder `out` from `checkpoint`; `on_progress` gets a few words now and then.

    Raises OSError where `out` cannot be written, else ConversionError.
    """
    command = [sys.executable, "-m", "vlm.runtimes.openvino_convert", str(checkpoint), str(out)]
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    problem = ""
    with subprocess.Popen(
        command + options,
        # Its end tells the converter that nobody is waiting for it any more.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"},
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                text = line.rstrip()
                if text.startswith(PROGRESS):
                    on_progress(text.removeprefix(PROGRESS))
                elif text.startswith((FAILED, NOT_WRITTEN)):
                    problem = text
        except BaseException:
            process.kill()
            raise
    if process.returncode == 0:
        return
    if problem.startswith(NOT_WRITTEN):
        raise OSError(problem.removeprefix(NOT_WRITTEN))
    if process.returncode < 0:
        problem = f"the converter was ended by signal {-process.returncode}; memory may be short"
    raise ConversionError(
        problem.removeprefix(FAILED) or f"the converter ended with code {process.returncode}"
    )
