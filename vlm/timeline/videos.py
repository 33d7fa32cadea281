"""Frames of video files, by PyAV, which is an optional package: its wheels hold x264 and x265."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from vlm.errors import BadImageError, ImageTooLargeError, UnsupportedImageError
from vlm.images.decode import MAX_IMAGE_PIXELS, MAX_SIDE_PX

# The demuxer of each kind of file. It is named, since others of FFmpeg's open further files and
# addresses that a file names.
_DEMUXERS: Final = {
    ".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "matroska",
    ".avi": "avi", ".mjpeg": "mjpeg", ".mjpg": "mjpeg", ".ts": "mpegts", ".mts": "mpegts",
    ".mpg": "mpeg", ".mpeg": "mpeg",
}  # fmt: skip
VIDEO_SUFFIXES: Final = frozenset(_DEMUXERS)
# Frames are looked at this far apart, in seconds.
STEP_S: Final = 1.0
INSTALL: Final = "Videos need the package PyAV: pip install av==18.1.0"


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video."""

    at_s: float
    """From the begin of the video, in seconds."""
    image: Image.Image
    """RGB, upright, with sides of at most MAX_SIDE_PX."""
    length_s: float
    """Of the whole video, in seconds; 0 if it does not say."""


def frames_of(file: Path, from_s: float = 0.0) -> Iterator[VideoFrame]:
    """Yield the frames of a video from `from_s` on, STEP_S apart, in order of time.

    Raise BadImageError if `file` is no video or damaged, ImageTooLargeError if its frames have more
    than MAX_IMAGE_PIXELS, and UnsupportedImageError without PyAV or a decoder for it.
    """
    try:
        import av
        import av.error
    except ImportError:
        raise UnsupportedImageError(INSTALL) from None
    try:
        with av.open(str(file), format=_DEMUXERS[file.suffix.lower()]) as container:
            if not container.streams.video:
                raise BadImageError("It has no pictures.")
            stream = container.streams.video[0]
            _check_size(stream.width, stream.height)
            length_s = (container.duration or 0) / av.time_base
            # To the key frame before it. Raw JPEGs have no places to go to.
            if from_s > 0 and length_s > 0:
                container.seek(int(from_s * av.time_base), any_frame=False)
            stream.thread_type = "AUTO"
            next_s, count = from_s, 0
            for frame in container.decode(stream):
                # Raw JPEGs have no times.
                at_s = count * _frame_s(stream) if frame.time is None else frame.time
                count += 1
                if at_s + 1e-6 < next_s:
                    continue
                next_s = at_s + STEP_S
                _check_size(frame.width, frame.height)
                image = frame.to_image()
                if frame.rotation:
                    image = image.rotate(frame.rotation, expand=True)
                image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
                yield VideoFrame(at_s, image, length_s)
    except av.error.DecoderNotFoundError:
        raise UnsupportedImageError("There is no decoder for this kind of video.") from None
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or "not a video, or damaged"
        raise BadImageError(f"It cannot be read as a video: {reason}.") from None


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageTooLargeError(
            f"Its frames have {width * height:,} pixels; at most {MAX_IMAGE_PIXELS:,} are taken."
        )


def _frame_s(stream: object) -> float:
    rate = getattr(stream, "average_rate", None)
    return 1 / float(rate) if rate else 1 / 25
