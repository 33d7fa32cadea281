"""Pictures for the stress test: slow ones that are accepted, mixed ones, and mutated bodies."""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from vlm.images.decode import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_SIDE_PX
from vlm.images.jpeg import MAX_SCANNED_PIXELS
from vlm.images.png import MAX_RAW_BYTES
from web.chats.images import MAX_PIXELS_TOGETHER
from web.errors import MAX_BODY_BYTES

BOUNDARY = "stress"
_END = b"\xff\xd9"


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Return `image` as a file."""
    out = io.BytesIO()
    image.save(out, image_format, **options)
    return out.getvalue()


def smooth(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return a picture of few bytes whose pixels all differ from their neighbours a little."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def slow_pictures() -> dict[str, bytes]:
    """Return the pictures that take longest to decode among those that the server accepts."""
    side = int(MAX_IMAGE_PIXELS**0.5)
    large = smooth(side, side)
    return {
        "progressive JPEG": _with_scans(
            encoded(large, "JPEG", progressive=True, quality=30),
            MAX_SCANNED_PIXELS // MAX_IMAGE_PIXELS,
        ),
        "interlaced 16-bit PNG": _deep_png(int((MAX_RAW_BYTES // 8) ** 0.5) - 1),
        "lossless WebP": encoded(large, "WEBP", lossless=True, method=0),
        "AVIF": encoded(large, "AVIF", quality=30, speed=10),
    }


def largest_picture() -> bytes:
    """Return a picture with the most pixels and bytes that are accepted."""
    side = int(MAX_IMAGE_PIXELS**0.5)
    data = encoded(smooth(side, side), "JPEG", quality=30)
    return data + bytes(MAX_IMAGE_BYTES - len(data))


def largest_chat() -> dict[str, object]:
    """Return a chat with the most pixels that are accepted, after decoding, and the most bytes."""
    count = MAX_PIXELS_TOGETHER // MAX_SIDE_PX**2
    data = encoded(smooth(MAX_SIDE_PX, MAX_SIDE_PX), "JPEG", quality=30)
    # A tenth is left to the rest of the body; base64 makes four bytes of three.
    data += bytes(MAX_BODY_BYTES * 9 // 10 * 3 // 4 // count - len(data))
    url = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    image = {"type": "image_url", "image_url": {"url": url}}
    return {
        "model": "nano",
        "max_tokens": 16,
        "messages": [{"role": "user", "content": [image] * count}],
    }


def _with_scans(data: bytes, count: int) -> bytes:
    """Return the progressive JPEG `data` with its last scan repeated until it has `count`."""
    last = data.rfind(b"\xff\xda")
    missing = max(0, count - data.count(b"\xff\xda"))
    return data[:-2] + data[last:-2] * missing + _END


def _deep_png(side: int) -> bytes:
    """Return an interlaced RGBA PNG with 16 bits a channel."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 1)
    packer = zlib.compressobj(1)
    # First column, first row and step of each of Adam7's passes.
    passes = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    parts = []
    for column, row, columns, rows in passes:
        width, height = -(-(side - column) // columns), -(-(side - row) // rows)
        line = b"\x01" + bytes(8 * width)
        for _ in range(height):
            parts.append(packer.compress(line))
    data = b"".join(parts) + packer.flush()
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def mixed_pictures(count: int, seed: int = 1) -> Iterator[bytes]:
    """Yield `count` sound pictures of 64 to 4,000 pixels a side, in all formats."""
    chance = random.Random(seed)
    files = []
    for number in range(36):
        side = int(64 * (4000 / 64) ** (number / 35))
        image = smooth(side, max(48, side * 3 // 4), number)
        kind = ("JPEG", "PNG", "WEBP", "JPEG", "AVIF", "JPEG")[number % 6]
        options: dict[str, object] = (
            {"quality": chance.choice((40, 75, 90))} if kind != "PNG" else {}
        )
        options |= {"WEBP": {"method": 0}, "AVIF": {"speed": 10}}.get(kind, {})
        files.append(encoded(image, kind, **options))
    for _ in range(count):
        # Small ones are more frequent, as from cameras.
        yield files[min(chance.randrange(len(files)), chance.randrange(len(files)))]


def mutated_bodies(count: int, seed: int = 2) -> Iterator[tuple[bytes, str]]:
    """Yield `count` bodies with their Content-Type: damaged pictures and damaged forms of them."""
    chance = random.Random(seed)
    image = smooth(96, 72)
    sound = [encoded(image, kind) for kind in ("JPEG", "PNG", "WEBP", "AVIF")]
    sound.append(encoded(image, "JPEG", progressive=True))
    for _ in range(count):
        data = changed_bytes(chance.choice(sound), chance)
        if chance.random() < 0.5:
            yield data, "image/jpeg"
        else:
            form = _form(data)
            yield changed_bytes(form, chance), f"multipart/form-data; boundary={BOUNDARY}"


def changed_bytes(sound: bytes, chance: random.Random) -> bytes:
    """Return `sound` with one to eight changes: bytes replaced, removed, repeated or added."""
    data = bytearray(sound)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data))
        kind = chance.randrange(5)
        if kind == 0:
            data[at] = chance.randrange(256)
        elif kind == 1:
            del data[at : at + chance.randint(1, 200)]
        elif kind == 2:
            data[at:at] = data[chance.randrange(len(data)) :][: chance.randint(1, 200)]
        elif kind == 3:
            data[at:at] = bytes((chance.choice((0, 0xFF, 0x7F)),)) * chance.randint(1, 8)
        else:
            data[at : at + 4] = struct.pack(
                ">I", chance.choice((0, 1, 2**16, 2**31 - 1, 2**32 - 1))
            )
        if not data:
            return b""
    return bytes(data)


def _form(data: bytes) -> bytes:
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="max_tokens"\r\n\r\n1\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
