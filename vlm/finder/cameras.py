"""The finder's state of each camera between two live frames: votes and the last text."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from PIL import Image

from vlm.finder.sentence import FirstLine
from vlm.finder.votes import Votes
from vlm.images.change import (
    THUMBNAIL_HEIGHT,
    THUMBNAIL_WIDTH,
    Thumbnail,
    changed_share,
    has_changed,
    thumbnail_of,
)

MAX_CAMERAS: Final = 64
# If so much of the picture changed, it is another scene: what was seen before is dropped.
_NEW_SCENE: Final = 0.5


@dataclass
class _Camera:
    votes: Votes = field(default_factory=Votes)
    newest: Thumbnail | None = None
    """Of the newest frame."""
    read: Thumbnail | None = None
    """Of the frame whose text is being or was read last."""
    is_reading: bool = False
    texts: tuple[str, ...] = ()
    """The lines of text in it."""


class Cameras:
    """The newest MAX_CAMERAS cameras. Safe from any thread; keeps no frame, only thumbnails."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cameras: OrderedDict[str, _Camera] = OrderedDict()

    def __len__(self) -> int:
        return len(self._cameras)

    def texts(self, camera: str, image: Image.Image) -> tuple[tuple[str, ...], bool]:
        """Return the lines read last in this scene, and whether `image` should be read now.

        If it should, the caller reads it and calls `have_read`.
        """
        thumbnail = _thumbnail(image)
        with self._lock:
            known = self._get(camera)
            if known.newest is not None and changed_share(known.newest, thumbnail) >= _NEW_SCENE:
                known.votes, known.texts, known.read = Votes(), (), None
            known.newest = thumbnail
            must_read = not known.is_reading and (
                known.read is None or has_changed(known.read, thumbnail)
            )
            if must_read:
                known.is_reading, known.read = True, thumbnail
            return known.texts, must_read

    def have_read(self, camera: str, texts: tuple[str, ...] | None) -> None:
        """Keep the lines of the frame that was to be read; None if it was not read after all."""
        with self._lock:
            known = self._get(camera)
            known.is_reading = False
            if texts is None:
                known.read = None
            # Dropped if another scene has come meanwhile.
            elif known.read is not None:
                known.texts = texts

    def vote(self, camera: str, line: FirstLine) -> FirstLine:
        """Return what is said after another frame whose own line is `line`."""
        with self._lock:
            known = self._get(camera)
            known.votes = known.votes.after(line, time.monotonic())
            return known.votes.line

    def _get(self, camera: str) -> _Camera:
        known = self._cameras.setdefault(camera, _Camera())
        self._cameras.move_to_end(camera)
        if len(self._cameras) > MAX_CAMERAS:
            self._cameras.popitem(last=False)
        return known


def _thumbnail(image: Image.Image) -> Thumbnail:
    # Reduced first: averaging a large picture in whole numbers takes longer than a look.
    size = (4 * THUMBNAIL_WIDTH, 4 * THUMBNAIL_HEIGHT)
    return thumbnail_of(image.resize(size, Image.Resampling.BOX))
