"""Many images of 1 KB to 8 MiB; the way in which they are sent must not change their captions."""

from __future__ import annotations

import io
import itertools
import json
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from tools.nano.scenes import make_frame
from web_client import ask, read_events

FIELDS = {"max_tokens": "8"}
# Of each kind of picture.
QUICK, SLOW = 22, 667
PIECE_BYTES = 64 * 2**10
LEAST_BYTES = 1000
# tests/web/test_limits.py sends the largest ones that are accepted; a browser takes long for them.
MOST_BYTES = 8 * 2**20

# Sends a picture as a form with FIELDS, and returns the body of the answer.
Send = Callable[[bytes], str]

_PHOTO_SIDES_PX = (320, 512, 640, 1024, 1536, 2048)
_PHOTO_QUALITIES = (60, 80, 92)
_LINE_ENDS = (b"\r", b"\n", b"\r\n", b"\r\n--", b"\r\r\n")
# Heads of forms are 100 to 600 bytes long, so the multiples of 64 KiB fall this far before those
# of the picture's own bytes.
_OFFSETS = range(-640, 64)
_SCENES = 20


def photographs(folder: Path, count: int) -> Iterator[bytes]:
    """Yield JPEGs of the photographs in `folder`, in several sizes and qualities."""
    files = sorted(folder.glob("*.jpg"))
    for number in range(count):
        turn, index = divmod(number, len(files))
        with Image.open(files[index]) as opened:
            image = opened.convert("RGB")
        # A few images cover all sides and qualities; later rounds are shifted by 1.
        sides, qualities = len(_PHOTO_SIDES_PX), len(_PHOTO_QUALITIES)
        scale = _PHOTO_SIDES_PX[(index + turn) % sides] / max(image.size)
        quality = _PHOTO_QUALITIES[(index // sides + turn + turn // sides) % qualities]
        image = image.resize((round(image.width * scale), round(image.height * scale)))
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality - turn // (sides * qualities))
        yield out.getvalue()


def noise(count: int) -> Iterator[bytes]:
    """Yield noise as JPEG and PNG, of 1 KB to 8 MiB by equal ratios."""
    chance = random.Random(1)
    for number in range(count):
        size_bytes = _between(number, count)
        if number % 2:
            # A little less than the bytes of its pixels, which do not get smaller.
            side_px = max(4, int((size_bytes * 0.999 / 3) ** 0.5) - 1)
        else:
            # Noise takes about 2.2 bytes a pixel at this quality.
            side_px = max(8, int((size_bytes / 2.3) ** 0.5))
        pixels = chance.randbytes(3 * side_px * side_px)
        out = io.BytesIO()
        image = Image.frombytes("RGB", (side_px, side_px), pixels)
        image.save(out, "PNG" if number % 2 else "JPEG", quality=95)
        assert out.tell() <= MOST_BYTES
        yield out.getvalue()


def line_ends(count: int) -> Iterator[bytes]:
    """Yield PNGs with line ends at every position around multiples of 64 KiB, if 800 or more.

    Each has a scene, and a chunk beside it, whose checksum shows that no byte was lost: of bytes
    that are no line ends but for one kind before or after each multiple of 64 KiB; and each third
    of line ends and dashes alone, as boundaries begin.
    """
    chance = random.Random(2)
    every_place = [(offset, end) for offset in _OFFSETS for end in _LINE_ENDS]
    chance.shuffle(every_place)
    places = itertools.cycle(every_place)
    scenes = [_png(make_frame(seed, "test").image) for seed in range(_SCENES)]
    most_multiples = MOST_BYTES // PIECE_BYTES - 1
    for number in range(count):
        scene = scenes[number % _SCENES]
        if number % 3 == 2:
            size_bytes = max(_between(number, count), len(scene) + 100)
            yield png_of_bytes(scene, size_bytes, bytes(chance.choices(b"\r\n-", k=size_bytes)))
            continue
        # Most have few multiples, so that all positions come near the first ones.
        multiples = min(most_multiples, 2 + 2 ** (number % 8) // 4)
        filler = bytearray(b"." * (multiples * PIECE_BYTES + PIECE_BYTES // 2))
        for multiple in range(1, multiples + 1):
            offset, end = next(places)
            at = multiple * PIECE_BYTES + offset - _FILLER_START
            filler[at : at + len(end)] = end
        size_bytes = len(filler) + len(scene) + _CHUNK_BYTES
        yield png_of_bytes(scene, size_bytes, bytes(filler))


# A PNG's signature and first chunk, the head of the chunk that is put behind them, and its
# checksum.
_HEAD_BYTES, _CHUNK_HEAD_BYTES, _CHUNK_BYTES = 33, 8, 12
_FILLER_START = _HEAD_BYTES + _CHUNK_HEAD_BYTES


def png_of_bytes(png: bytes, size_bytes: int, filler: bytes | None = None) -> bytes:
    """Return `png` with one more chunk, of `filler`, that makes it exactly `size_bytes` long."""
    length = size_bytes - len(png) - _CHUNK_BYTES
    assert length >= 0, "too short for a chunk"
    content = b"fiLl" + (filler if filler is not None else bytes(length))[:length]
    assert len(content) == length + 4
    chunk = struct.pack(">I", length) + content + struct.pack(">I", zlib.crc32(content))
    return png[:_HEAD_BYTES] + chunk + png[_HEAD_BYTES:]


def _between(number: int, count: int) -> int:
    """Return the size of image `number` of `count`: sizes grow by a constant ratio."""
    ratio = MOST_BYTES / LEAST_BYTES
    return int(LEAST_BYTES * ratio ** (number / max(1, count - 1)))


def _png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def caption_in(answer: str) -> tuple[str, int]:
    """Return caption and prompt tokens of an answer, which must be complete."""
    assert not answer.startswith("{"), answer
    name, done = read_events(answer)[-1]
    assert name == "done", json.dumps(done)
    return done["text"], done["stats"]["prompt_tokens"]


def raw_caption(port: int, data: bytes) -> tuple[str, int]:
    """Return `caption_in` for `data` sent as a raw body."""
    query = "&".join(f"{name}={FIELDS[name]}" for name in FIELDS)
    headers = {"Content-Type": "application/octet-stream"}
    status, _, answer = ask(port, "POST", f"/api/captions?{query}", data, headers)
    assert status == 200, answer
    return caption_in(answer)


def assert_same(port: int, send: Send, pictures: Iterator[bytes]) -> None:
    """Assert that each image gets the same caption by `send` as by a raw body."""
    captions = set()
    for number, data in enumerate(pictures):
        expected = raw_caption(port, data)
        assert caption_in(send(data)) == expected, f"picture {number} of {len(data)} bytes"
        captions.add(expected)
    # The captions must differ.
    assert len(captions) >= min(6, (number + 1) // 2)
