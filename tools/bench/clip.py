"""Recorded clips: a file of JPEGs one after another, a folder of pictures, or nano's scenes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

from PIL import Image

from tools.bench.pictures import drawn_scene, noisy, read_picture, swayed
from vlm.errors import SettingsError
from vlm.images.decode import decode_image

NANO_SCENES: Final = 10
NANO_SCENE_S: Final = 4.0

_PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp")
_START: Final = b"\xff\xd8\xff"
_END_MARKER: Final = 0xD9
# In compressed data 0xFF is followed by 0, by one of eight restart markers, or by a real one.
_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")


class Clip(Protocol):
    """Frames of one camera, one after another."""

    def __len__(self) -> int:
        """How many frames there are."""

    def picture(self, index: int) -> Image.Image:
        """Frame `index`, RGB; raises BadImageError and its kin where it is damaged."""


def open_clip(source: str, fps: float) -> Clip:
    """The clip that `--video` names: "nano", a file or a folder; raises SettingsError."""
    if source == "nano":
        return DrawnClip(fps)
    path = Path(source).expanduser()
    if path.is_dir():
        return PictureFolder(path)
    return MotionJpeg(path)


class DrawnClip:
    """NANO_SCENES of nano's scenes for NANO_SCENE_S each, with a sensor's noise.

    The camera stands before the first, is held by hand before the second, and so on in turns.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._frames_per_scene = max(1, round(NANO_SCENE_S * fps))
        self._scene = lru_cache(1)(drawn_scene)

    def __len__(self) -> int:
        return NANO_SCENES * self._frames_per_scene

    def picture(self, index: int) -> Image.Image:
        """See `Clip.picture`."""
        number = index // self._frames_per_scene
        held_s = index / self._fps if number % 2 else 0.0
        return noisy(swayed(self._scene(number), held_s), index)


class PictureFolder:
    """The pictures of a folder, by their names."""

    def __init__(self, folder: Path) -> None:
        """Raises SettingsError where there are none."""
        self._files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _PICTURES)
        if not self._files:
            raise SettingsError(
                f"--video: there is no picture ({', '.join(_PICTURES)}) in {folder}."
            )

    def __len__(self) -> int:
        return len(self._files)

    def picture(self, index: int) -> Image.Image:
        """See `Clip.picture`."""
        return read_picture(self._files[index])


class MotionJpeg:
    """A file of JPEGs one after another, as Chromium's fake camera takes it too."""

    def __init__(self, file: Path) -> None:
        """Raises SettingsError where the file cannot be read or is of another format."""
        try:
            self._data = file.read_bytes()
        except OSError as error:
            raise SettingsError(f"--video: {file} cannot be read: {error.strerror}.") from error
        self._spans = list(_jpegs_in(self._data))
        if not self._spans:
            raise SettingsError(
                f"--video: {file} is not a file of JPEGs one after another. `ffmpeg -i VIDEO -c:v "
                "mjpeg -q:v 3 -f mjpeg OUT.mjpeg` makes one of any video."
            )

    def __len__(self) -> int:
        return len(self._spans)

    def picture(self, index: int) -> Image.Image:
        """See `Clip.picture`."""
        start, end = self._spans[index]
        return decode_image(self._data[start:end])


def _jpegs_in(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each whole JPEG starts and ends; none where `data` does not begin with one."""
    start = 0
    while data.startswith(_START, start):
        end = _end_of_jpeg(data, start)
        if end is None:
            return
        yield start, end
        start = end


def _end_of_jpeg(data: bytes, start: int) -> int | None:
    """The end of the JPEG at `start`, past previews in its headers; None where it is cut short."""
    at = start + 2
    while found := _MARKER.search(data, at):
        at = found.end()
        if found[1][0] == _END_MARKER:
            return at
        at += int.from_bytes(data[at : at + 2], "big")
    return None
