"""Pictures that are decoded in a process of their own."""

from __future__ import annotations

import io
import sys

import psutil
import pytest
from PIL import AvifImagePlugin, Image, WebPImagePlugin

from vlm.errors import BadImageError, StreamClosedError
from vlm.images import apart
from vlm.images.decode import decode_image

# Beyond the bound, and of few colours, so that encoding is fast.
LARGE = (1700, 1200)


def encoded(image_format: str, **options: object) -> bytes:
    image = Image.linear_gradient("L").resize(LARGE).convert("RGB")
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def test_a_large_picture_has_the_same_pixels_and_leaves_this_process_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = [encoded("WEBP", method=0, exif=exif), encoded("AVIF", speed=10)]
    here = [decode_image(data, is_apart=True) for data in pictures]

    def fail(self: Image.Image) -> None:
        raise AssertionError("decoded in this process")

    monkeypatch.setattr(WebPImagePlugin.WebPImageFile, "load", fail)
    monkeypatch.setattr(AvifImagePlugin.AvifImageFile, "load", fail)
    for data, expected in zip(pictures, here, strict=True):
        image = decode_image(data)
        assert (image.size, image.tobytes()) == (expected.size, expected.tobytes())
    assert here[0].size == LARGE[::-1]


def test_damage_is_refused_in_the_same_words() -> None:
    data = bytearray(encoded("WEBP", method=0))
    # The header stays whole, so that the size is known.
    data[200:] = bytes(len(data) - 200)
    refusals = []
    for is_apart in (True, False):
        with pytest.raises(BadImageError) as refused:
            decode_image(bytes(data), is_apart=is_apart)
        refusals.append(str(refused.value))
    assert refusals[0] == refusals[1]


def test_the_process_ends_when_the_client_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    # One that never ends by itself.
    waiting = [sys.executable, "-c", "import time; time.sleep(3600)"]
    monkeypatch.setattr(apart, "COMMAND", waiting)
    asked = 0

    def is_cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    with pytest.raises(StreamClosedError):
        decode_image(encoded("WEBP", method=0), is_cancelled)
    assert not [child for child in psutil.Process().children() if child.cmdline() == waiting]


@pytest.mark.parametrize(
    ("command", "is_taken"),
    [
        (["no-such-program"], True),
        ([sys.executable, "-c", "raise SystemExit(3)"], True),
        # As if it had crashed, or the system had ended it.
        ([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], False),
    ],
)
def test_without_its_process_a_picture_is_decoded_here_but_not_after_a_crash(
    monkeypatch: pytest.MonkeyPatch, command: list[str], is_taken: bool
) -> None:
    data = encoded("WEBP", method=0)
    monkeypatch.setattr(apart, "COMMAND", command)
    if is_taken:
        assert decode_image(data).size == LARGE
    else:
        with pytest.raises(BadImageError, match="damaged, or takes too much memory"):
            decode_image(data)
