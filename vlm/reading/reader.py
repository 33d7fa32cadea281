"""The protocol of a reader of text, and the loading of the bundled one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from vlm.results import TextLine

if TYPE_CHECKING:
    from PIL import Image

_LOADING: Final = threading.Lock()


class Reader(Protocol):
    """Reads lines of text in frames. Safe from any thread."""

    def read(
        self, image: Image.Image, is_cancelled: Callable[[], bool] = lambda: False
    ) -> list[TextLine]:
        """Return the lines in the upright RGB `image` in reading order, at most MAX_LINES.

        A page of text takes seconds: return no lines once `is_cancelled` returns true.
        """
        ...


def load_reader() -> Reader:
    """Return the reader of this process, loaded at the first call (about two seconds).

    Raise ReaderUnavailableError if it cannot be loaded.
    """
    with _LOADING:
        return _the_reader()


@lru_cache(maxsize=1)
def _the_reader() -> Reader:
    # Imported here: rapidocr brings OpenCV and OpenVINO.
    from vlm.reading.rapidocr_reader import RapidOcrReader

    return RapidOcrReader()


def read_mirrored(
    reader: Reader, image: Image.Image, is_cancelled: Callable[[], bool] = lambda: False
) -> list[TextLine]:
    """Return the lines of a camera that mirrors its pictures, with boxes in `image`.

    Only a person knows that a picture is mirrored: of 30 mirrored words 9 were read as others, with
    a high score.
    """
    from PIL import ImageOps

    return [
        TextLine(line.text, line.score, (1 - x1, y0, 1 - x0, y1))
        for line in reader.read(ImageOps.mirror(image), is_cancelled)
        for x0, y0, x1, y1 in [line.box]
    ]
