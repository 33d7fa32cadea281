"""Decode a picture in a process of its own, `python -m vlm.images`, whose work captions outrank.

A process has less priority, can be ended midway if the client leaves, and gives all of its memory
back. And Pillow copies a decoded WebP or AVIF picture with Python's lock held, for 0.1 to 0.3 s if
it is large (docs/surprises.md), in which this process could make no token of any caption.
"""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PIL import Image

from vlm.errors import (
    BadImageError,
    ImageTooLargeError,
    SightlineError,
    StreamClosedError,
    UnsupportedImageError,
)

log = logging.getLogger("sightline")

# The largest take 3 s of processor time (Zen 4), and the process gets what captions leave.
DEADLINE_S: Final = 120.0
# Start of the process's output: an image follows, or an error's code and message.
PIXELS: Final = b"P"
REFUSAL: Final = b"R"
SIZE: Final = struct.Struct(">II")

COMMAND: Final = [sys.executable, "-m", "vlm.images"]
_ROOT: Final = Path(__file__).resolve().parents[2]
# How often a wait looks whether the client has left.
_LOOK_S: Final = 0.1
_REFUSALS: Final = {
    each.code: each for each in (BadImageError, ImageTooLargeError, UnsupportedImageError)
}
_ENDED_MESSAGE: Final = (
    "This image cannot be decoded: it is damaged, or takes too much memory. Save it again, as JPEG."
)
_TOO_SLOW_MESSAGE: Final = (
    f"The image was not decoded within {DEADLINE_S:.0f} s. Make it smaller, or save it as JPEG."
)


def decode_apart(data: bytes, is_cancelled: Callable[[], bool]) -> Image.Image | None:
    """Return the image in `data` as `decode_image` does; None if no process can be started here.

    Raise BadImageError, ImageTooLargeError or UnsupportedImageError, and StreamClosedError once
    `is_cancelled` returns true.
    """
    try:
        process = _started()
    except OSError as error:
        log.warning("Cannot start a process to decode a picture: %s", error)
        return None
    output = _output_of(process, data, is_cancelled)
    if output.startswith(PIXELS):
        start = len(PIXELS) + SIZE.size
        size = SIZE.unpack(output[len(PIXELS) : start])
        return Image.frombytes("RGB", size, memoryview(output)[start:])
    if output.startswith(REFUSAL):
        code, _, message = output[len(REFUSAL) :].decode().partition("\n")
        raise _REFUSALS.get(code, BadImageError)(message)
    if process.returncode > 0:
        log.warning("The process to decode pictures failed with exit status %d", process.returncode)
        return None
    raise BadImageError(_ENDED_MESSAGE)


def _started() -> subprocess.Popen[bytes]:
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    flags = ("CREATE_NO_WINDOW", "BELOW_NORMAL_PRIORITY_CLASS")
    return subprocess.Popen(
        COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        creationflags=sum(getattr(subprocess, flag, 0) for flag in flags),
        # Ctrl-C in the terminal is for the server alone.
        start_new_session=True,
    )


def _output_of(
    process: subprocess.Popen[bytes], data: bytes, is_cancelled: Callable[[], bool]
) -> bytes:
    """Return what `process` writes after `data`, when it has ended."""
    ended = threading.Event()

    def end_if_cancelled() -> None:
        while not ended.wait(_LOOK_S):
            if is_cancelled():
                process.kill()
                return

    # A thread, because a `communicate` that goes on after a timeout sends no more input.
    threading.Thread(target=end_if_cancelled, name="decoding", daemon=True).start()
    try:
        output = process.communicate(data, DEADLINE_S)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise ImageTooLargeError(_TOO_SLOW_MESSAGE) from None
    finally:
        ended.set()
    if is_cancelled():
        raise StreamClosedError("The client has left while its image was decoded.")
    return output


def written(decode: Callable[[bytes], Image.Image], data: bytes) -> bytes:
    """Return what the process writes for `data`: an image of `decode`, or an error."""
    try:
        image = decode(data)
    except SightlineError as error:
        return REFUSAL + f"{error.code}\n{error}".encode()
    return PIXELS + SIZE.pack(*image.size) + image.tobytes()
