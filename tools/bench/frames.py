"""The frames that are captioned: pictures, clips, and the changes that a camera makes to them."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from PIL import Image

from vlm.errors import SettingsError, SightlineError
from vlm.images.decode import decode_image

FRAME_SIZE_PX: Final = (640, 480)
SENSOR_NOISE_LEVELS: Final = 2.0
# The page's default (static/js/core/settings.js).
JPEG_QUALITY: Final = 0.8
NANO_SCENES: Final = 10
NANO_SCENE_S: Final = 4.0
CLIP_FRAMES: Final = 600
ALL_FRAMES: Final = 3000
LEAST_FRAMES_EACH: Final = 8

# Shift between two frames, as a share of the width: far enough that the scene is a new one.
_PAN_SHARE: Final = 5 / 16
_MARGIN_PX: Final = 16
# One block of JPEG's chroma.
_CORNER_PX: Final = 16
# Horizontal and vertical; without a common divisor, so that the path is long.
_SWAY_PERIODS_S: Final = (3.1, 4.3)
_PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp")
_JPEG_START: Final = b"\xff\xd8\xff"
_JPEG_START_MARKER: Final = 0xD8
_JPEG_END_MARKER: Final = 0xD9
# A saved stream has part headers before its first JPEG; other formats hold JPEGs much later.
_MAX_SKIPPED_BYTES: Final = 1024
# In compressed data 0xFF is followed by 0, by one of eight restart markers, or by a real marker.
_JPEG_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])")


def read_picture(file: Path) -> Image.Image:
    """Return the picture in `file`, decoded as the server decodes it.

    Raises SettingsError if the file cannot be read, BadImageError and its kin if it is no image.
    """
    try:
        return decode_image(file.read_bytes())
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}.") from error


def drawn_scene(number: int) -> Image.Image:
    """Return one of the scenes that nano was trained for, FRAME_SIZE_PX; `number` from 0."""
    from tools.nano.scenes import make_frame

    width, height = FRAME_SIZE_PX
    seed = -1
    while number >= 0:
        seed += 1
        image = make_frame(seed, "test", "objects").image
        # Scenes of another aspect would be stretched: squares would become rectangles.
        number -= abs(image.width * height - image.height * width) < 2 * max(image.size)
    return image.resize(FRAME_SIZE_PX, Image.Resampling.BICUBIC)


def partly_changed(image: Image.Image, share: float, number: int, grid: int = 32) -> Image.Image:
    """Return `image` with other blocks of colour in a square in its middle; `number` chooses them.

    `share` is that of the patches that change or touch one that does, on a `grid` of patches.
    """
    side = 1.0 if share >= 1 else max(1, math.floor(math.sqrt(share) * grid) - 2) / grid
    width, height = round(side * image.width), round(side * image.height)
    levels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    blocks = Image.fromarray(levels).resize((width, height), Image.Resampling.NEAREST)
    changed = image.copy()
    # On the grid, so that no further patch is touched.
    left = round(math.floor((1 - side) / 2 * grid) / grid * image.width)
    top = round(math.floor((1 - side) / 2 * grid) / grid * image.height)
    changed.paste(blocks, (left, top))
    return changed


def tile_changed(image: Image.Image, grid: tuple[int, int], number: int) -> Image.Image:
    """Return `image` with another colour inside the middle one of `grid` rows and columns."""
    rows, columns = grid
    width, height = image.width / columns, image.height / rows
    left, top = (columns // 2 + 0.25) * width, (rows // 2 + 0.25) * height
    changed = image.copy()
    box = (int(left), int(top), int(left + width / 2), int(top + height / 2))
    changed.paste((number % 256, number // 256, 255 - number % 256), box)
    return changed


def fitted(image: Image.Image, max_side_px: int) -> Image.Image:
    """Return `image` with its longest side at most `max_side_px`, as the page does; never larger.

    tests/browser/test_change_twin.py compares the sizes with the page's.
    """
    scale = min(1.0, max_side_px / max(image.size))
    size = (max(1, int(image.width * scale + 0.5)), max(1, int(image.height * scale + 0.5)))
    return image if size == image.size else image.resize(size, Image.Resampling.BOX)


def to_jpeg(image: Image.Image) -> bytes:
    """Return `image` as a JPEG of the page's quality."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=round(100 * JPEG_QUALITY))
    return out.getvalue()


def touched(image: Image.Image, number: int) -> Image.Image:
    """Return `image` with one changed pixel, different for each `number` up to 65535."""
    copy = image.copy()
    copy.putpixel((0, 0), (number % 256, number // 256, 128))
    return copy


def cornered(image: Image.Image, number: int) -> Image.Image:
    """Return `image` with a small corner that JPEG keeps, different for each `number` to 4095."""
    colour = (number % 16 * 16, number // 16 % 16 * 16, number // 256 % 16 * 16)
    copy = image.copy()
    copy.paste(colour, (0, 0, _CORNER_PX, _CORNER_PX))
    return copy


def panned(image: Image.Image, step: int) -> Image.Image:
    """Return `image` as a turning camera sees it; sixteen steps show sixteen different frames."""
    shift_px = int(step * _PAN_SHARE * image.width) % image.width
    return Image.fromarray(np.roll(np.asarray(image), shift_px, axis=1))


def swayed(image: Image.Image, at_s: float) -> Image.Image:
    """Return `image` cropped as a hand-held camera sees it at time `at_s`."""
    left, top = (
        round(_MARGIN_PX * (1 + math.sin(2 * math.pi * at_s / period_s)))
        for period_s in _SWAY_PERIODS_S
    )
    width, height = image.width - 2 * _MARGIN_PX, image.height - 2 * _MARGIN_PX
    return image.crop((left, top, left + width, top + height))


def noisy(image: Image.Image, number: int) -> Image.Image:
    """Return `image` with sensor noise, different for each `number`."""
    rng = np.random.default_rng(number)
    noise = rng.standard_normal((image.height, image.width, 3), dtype=np.float32)
    pixels = np.asarray(image) + noise * np.float32(SENSOR_NOISE_LEVELS)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


class Clip(Protocol):
    """Consecutive frames of one camera."""

    def __len__(self) -> int:
        """Return the number of frames."""

    def picture(self, index: int) -> Image.Image:
        """Return frame `index` in RGB; raise BadImageError or its kin if it is damaged."""

    def damage(self) -> str | None:
        """Return what was wrong with the frames so far, in words, None if nothing was."""


def open_clip(source: str, fps: float) -> Clip:
    """Return the clip that `--video` names: "nano", a file or a folder; raise SettingsError."""
    if source == "nano":
        return DrawnClip(fps)
    path = Path(source).expanduser()
    if path.is_dir():
        return PictureFolder(path)
    return MotionJpeg(path, fps)


class DrawnClip:
    """NANO_SCENES of nano's scenes for NANO_SCENE_S each, with sensor noise.

    The camera is still in the first scene, hand-held in the second, and so on alternately.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._frames_per_scene = max(1, round(NANO_SCENE_S * fps))
        self._scene = lru_cache(1)(drawn_scene)

    def __len__(self) -> int:
        return NANO_SCENES * self._frames_per_scene

    def picture(self, index: int) -> Image.Image:
        number = index // self._frames_per_scene
        held_s = index / self._fps if number % 2 else 0.0
        return noisy(swayed(self._scene(number), held_s), index)

    def damage(self) -> None:
        """Return None: drawn frames are whole."""


class PictureFolder:
    """The pictures of a folder, sorted by name."""

    def __init__(self, folder: Path) -> None:
        """Raise SettingsError if there are none."""
        self._files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _PICTURES)
        if not self._files:
            raise SettingsError(
                f"--video: there is no picture ({', '.join(_PICTURES)}) in {folder}."
            )

    def __len__(self) -> int:
        return len(self._files)

    def picture(self, index: int) -> Image.Image:
        return read_picture(self._files[index])

    def damage(self) -> None:
        """Return None: a damaged picture ends the run."""


class MotionJpeg:
    """A file of concatenated JPEGs, the format that Chromium's fake camera reads.

    As before a camera, a damaged frame is replaced by the whole one before it, or by the first
    whole one. Bytes between the JPEGs are skipped, and a JPEG may lack its end marker.
    """

    def __init__(self, file: Path, fps: float) -> None:
        """Raise SettingsError if the file cannot be read, has another format, or no whole frame."""
        try:
            self._data = file.read_bytes()
        except OSError as error:
            raise SettingsError(f"--video: {file} cannot be read: {error.strerror}.") from error
        self._spans = list(_jpegs_in(self._data))
        if not self._spans:
            # Without the rate, a clip of another rate plays faster or slower. JPEGs have the
            # colours of BT.601 in full range, and ffmpeg converts to them only if told.
            raise SettingsError(
                f"--video: {file} is not a file of concatenated JPEGs. Convert any video with "
                f'`ffmpeg -i VIDEO -vf "fps={fps:g},scale=out_color_matrix=bt601:out_range=full" '
                "-c:v mjpeg -q:v 3 -f mjpeg OUT.mjpeg`."
            )
        self._damaged: set[int] = set()
        self._first = next((i for i in range(len(self._spans)) if self._decoded(i)), None)
        if self._first is None:
            raise SettingsError(f"--video: all {len(self._spans)} JPEGs of {file} are damaged.")

    def __len__(self) -> int:
        return len(self._spans)

    def picture(self, index: int) -> Image.Image:
        """Return frame `index`, or the whole frame that is shown in its place."""
        for at in range(index, -1, -1):
            if picture := self._decoded(at):
                return picture
        assert self._first is not None
        return self.picture(self._first)

    def damage(self) -> str | None:
        """Return how many frames were damaged, None if none was."""
        count = len(self._damaged)
        if not count:
            return None
        frames = "1 damaged frame was" if count == 1 else f"{count} damaged frames were"
        return f"{frames} replaced by whole ones beside them."

    def _decoded(self, index: int) -> Image.Image | None:
        """Return the frame, None if it is damaged."""
        start, end = self._spans[index]
        try:
            return decode_image(self._data[start:end])
        except SightlineError:
            self._damaged.add(index)
            return None


def jpegs_by_camera(clip: Clip, frame_size_px: int, cameras: int) -> list[list[bytes]]:
    """Return a part of `clip` for each camera, compressed as the page does.

    All frames differ, also between cameras: the server caches the encodings of equal frames. They
    are compressed before the clock starts, so that the clients are not the bottleneck.
    """
    count = min(CLIP_FRAMES, len(clip))
    each = min(count, max(LEAST_FRAMES_EACH, ALL_FRAMES // cameras))
    starts = [camera * count // cameras for camera in range(cameras)]
    jpegs: list[list[bytes]] = [[b""] * each for _ in starts]
    for index in range(count):
        picture = fitted(clip.picture(index), frame_size_px)
        for camera, start in enumerate(starts):
            place = (index - start) % count
            if place < each:
                jpegs[camera][place] = to_jpeg(cornered(picture, camera))
    return jpegs


def _jpegs_in(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of each JPEG; nothing if `data` does not begin with one."""
    start = data.find(_JPEG_START, 0, _MAX_SKIPPED_BYTES + len(_JPEG_START))
    while start >= 0:
        end = _end_of_jpeg(data, start)
        yield start, end
        start = data.find(_JPEG_START, end)


def _end_of_jpeg(data: bytes, start: int) -> int:
    """Return the end of the JPEG at `start`: behind its end marker, else before the next JPEG."""
    at = start + 2
    while found := _JPEG_MARKER.search(data, at):
        if found[1][0] == _JPEG_START_MARKER:
            return found.start()
        at = found.end()
        if found[1][0] == _JPEG_END_MARKER:
            return at
        at += int.from_bytes(data[at : at + 2], "big")
    return len(data)
