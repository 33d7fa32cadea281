"""Sound files of real programs are taken, torn and costly ones refused."""

from __future__ import annotations

import io
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vlm.errors import (
    BadImageError,
    BusyError,
    ImageTooLargeError,
    StreamClosedError,
    UnsupportedImageError,
)
from vlm.images import decode, heif, jpeg
from vlm.images.apart import decode_apart
from vlm.images.decode import _LARGE, MAX_LARGE, decode_image
from worker_kit import wait_until

END = b"\xff\xd9"


def photo(width: int = 160, height: int = 120) -> Image.Image:
    """Return a smooth picture with a little noise, as a camera's."""
    noise = np.random.default_rng(1).normal(0, 6, (height, width, 3))
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = np.stack([rows * 255 / height, columns * 255 / width, 255 - rows * 200 / height], -1)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


def encoded(
    image_format: str = "JPEG", image: Image.Image | None = None, **options: object
) -> bytes:
    out = io.BytesIO()
    (image or photo()).save(out, image_format, **options)
    return out.getvalue()


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


JPEGS: dict[str, bytes] = {
    "baseline": encoded(),
    "progressive": encoded(progressive=True),
    "restart markers": encoded(restart_marker_blocks=4),
    "progressive with restart markers": encoded(progressive=True, restart_marker_blocks=4),
    "4:4:4": encoded(subsampling=0),
    "4:2:2": encoded(subsampling=1),
    "grey": encoded(image=photo().convert("L")),
    "print colours": encoded(image=photo().convert("CMYK")),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_a_whole_jpeg_has_the_pixels_of_pillow_with_or_without_its_end_marker(kind: str) -> None:
    whole = JPEGS[kind]
    assert whole.endswith(END)
    for data in (
        whole,
        whole[:-2],
        whole + b"\0" * 300,
        whole[:-2] + b"\xff\xff" + END,
        whole + b"\0\0\0\x18ftypmp42 the video of a motion photo",
        whole + JPEGS["baseline"],
    ):
        assert (np.asarray(decode_image(data)) == pixels(whole)).all()


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("kept", [0.5, 0.75, 0.95])
def test_a_jpeg_without_all_of_its_data_is_refused_even_with_an_end_marker(
    kind: str, kept: float
) -> None:
    data = JPEGS[kind]
    cut = data[: int(len(data) * kept)]
    with pytest.raises(BadImageError, match="cut short"):
        decode_image(cut)
    with pytest.raises(BadImageError, match="a part of its data is missing"):
        decode_image(cut + END)


@pytest.mark.parametrize("kind", JPEGS)
def test_a_jpeg_with_a_gap_in_its_middle_is_refused(kind: str) -> None:
    data = JPEGS[kind]
    middle = int(len(data) * 0.7)
    with pytest.raises(BadImageError, match="a part of its data is missing"):
        decode_image(data[:middle] + data[middle + 600 :])


@pytest.mark.parametrize("padding", [b"\0" * 3, b"\0" * 40, b"ab" * 10])
def test_bytes_between_the_last_scan_and_the_end_marker_do_not_matter(padding: bytes) -> None:
    data = JPEGS["baseline"]
    assert (np.asarray(decode_image(data[:-2] + padding + END)) == pixels(data)).all()
    with pytest.raises(BadImageError, match="a part of its data is missing"):
        decode_image(data[: len(data) // 2] + padding + END)


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


@pytest.mark.parametrize(
    "extra",
    [
        segment(0xE1, b"Exif\0\0II*\0 not EXIF at all"),
        segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(30_000)),
        segment(0xE2, b"MPF\0" + bytes(40)),
        segment(0xFE, b"a comment with an end marker " + END),
        segment(0xED, bytes(65_000)) * 20,
        b"\0\0\0\0",
        b"\xff\xff\xff",
    ],
)
# Pillow warns of damaged EXIF.
@pytest.mark.filterwarnings("ignore:.*EXIF")
def test_what_stands_before_the_tables_of_a_jpeg_changes_no_pixel(extra: bytes) -> None:
    data = JPEGS["baseline"]
    head = 2 + 2 + int.from_bytes(data[4:6], "big")
    changed = data[:head] + extra + data[head:]
    assert (np.asarray(decode_image(changed)) == pixels(data)).all()


@pytest.mark.parametrize("fill", [b"\xff", b"\xff\0", b"\xff\1", b"\xff\xd0", b"\0"])
def test_bytes_between_segments_are_passed_without_a_step_for_each(fill: bytes) -> None:
    data = JPEGS["baseline"]
    steps, tracing = 0, sys.gettrace()

    def count(frame: object, event: str, argument: object) -> Any:
        nonlocal steps
        steps += 1
        return count

    sys.settrace(count)
    try:
        found = jpeg.read_headers(data[:2] + fill * 100_000 + data[2:])
    finally:
        sys.settrace(tracing)
    assert (found.width, found.height) == (160, 120)
    assert steps < 10_000


def frame_header(marker: int, bits: int) -> bytes:
    body = struct.pack(">BHHB", bits, 48, 64, 1) + b"\1\x11\0"
    scan = segment(0xDA, b"\1\1\0\0\x3f\0") + b"\x12\x34" * 40
    return b"\xff\xd8" + segment(marker, body) + scan + END


@pytest.mark.parametrize(
    ("marker", "bits", "words"),
    [(0xC1, 12, "12 bits"), (0xC3, 8, "Lossless"), (0xC5, 8, "Hierarchical")],
)
def test_a_jpeg_of_a_rare_kind_is_refused_by_its_name(marker: int, bits: int, words: str) -> None:
    with pytest.raises(UnsupportedImageError, match=words):
        decode_image(frame_header(marker, bits))


def test_an_arithmetic_coded_jpeg_has_its_pixels_and_needs_its_end_marker() -> None:
    """The file is `encoded(quality=80)`, coded anew by `jpegtran -arithmetic`."""
    data = (Path(__file__).parent / "arithmetic.jpg").read_bytes()
    assert (np.asarray(decode_image(data)) == pixels(encoded(quality=80))).all()
    for kept in (len(data) - 2, len(data) * 3 // 4, len(data) // 2):
        with pytest.raises(BadImageError, match="cut short"):
            decode_image(data[:kept])


def with_scans(data: bytes, count: int) -> bytes:
    """Return the progressive JPEG `data` with its last scan repeated, as if it had `count`."""
    last = data.rfind(b"\xff\xda")
    missing = count - data.count(b"\xff\xda")
    return data[:-2] + data[last:-2] * missing + END


def test_the_cost_of_scans_is_bounded_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    data = JPEGS["progressive"]
    at_limit = with_scans(data, jpeg.MAX_SCANS)
    assert jpeg.read_headers(at_limit).scans == jpeg.MAX_SCANS
    jpeg.check_cost(jpeg.read_headers(at_limit))
    decoded: list[object] = []
    monkeypatch.setattr(jpeg, "decode", lambda *given: decoded.append(given))
    with pytest.raises(ImageTooLargeError, match="takes too long to decode"):
        decode_image(with_scans(data, jpeg.MAX_SCANS + 1))
    with pytest.raises(ImageTooLargeError, match="takes too long to decode"):
        decode_image(data[:2] + segment(0xFE, b"") * (jpeg.MAX_SEGMENTS + 1) + data[2:])
    large = jpeg.Jpeg(b"", 8000, 6000, 3, scans=20, is_ended=True)
    jpeg.check_cost(large)
    with pytest.raises(ImageTooLargeError, match="not progressive"):
        jpeg.check_cost(jpeg.Jpeg(b"", 8000, 6000, 3, scans=21, is_ended=True))
    # One scan of the largest picture is never too many.
    jpeg.check_cost(jpeg.Jpeg(b"", 40_000, 40_000, 3, scans=1, is_ended=True))
    assert not decoded


def chunk(kind: bytes, body: bytes = b"", crc: int | None = None) -> bytes:
    crc = zlib.crc32(kind + body) if crc is None else crc
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"tEXt", b"Comment\0damaged", crc=1),
        chunk(b"eXIf", b"MM\0\x2a\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0" + bytes(4), crc=1),
        chunk(b"tRNS", bytes(6), crc=1),
        chunk(b"tRNS", b"\0"),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000))),
        chunk(b"iCCP", b"profile\0\0" + b"not compressed"),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(20_000_000))),
        chunk(b"iTXt", bytes(5_000_000)),
        chunk(b"eXIf", bytes(100_000)),
        chunk(b"prVt", b"of a program"),
        chunk(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"tEXt", b"a\0b") * 10_000,
    ],
)
def test_chunks_that_no_pixel_needs_do_not_matter(extra: bytes) -> None:
    data = encoded("PNG")
    for at in (33, data.rindex(b"IEND") - 4):
        changed = data[:at] + extra + data[at:]
        assert (np.asarray(decode_image(changed)) == pixels(data)).all()


def test_damage_in_a_chunk_that_pixels_need_is_refused() -> None:
    # Few colours, so that the data is no longer than the other chunks.
    image = photo(24, 16).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    data = encoded("PNG", image)
    end = data.rindex(b"IEND") - 4
    for at in range(8, end):
        changed = bytearray(data)
        changed[at] ^= 0x20
        with pytest.raises(BadImageError):
            decode_image(bytes(changed))
    with pytest.raises(BadImageError):
        decode_image(data.replace(b"PLTE", b"plTE"))
    with pytest.raises(UnsupportedImageError, match="Apple"):
        decode_image(data.replace(b"PLTE", b"CgBI"))


def png(header: bytes, data: bytes, chunks: int = 1) -> bytes:
    size = -(-len(data) // chunks)
    parts = b"".join(chunk(b"IDAT", data[i * size : (i + 1) * size]) for i in range(chunks))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + parts + chunk(b"IEND")


def test_the_cost_of_a_png_is_bounded_before_decoding() -> None:
    small = struct.pack(">IIBBBBB", 64, 48, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(65 * 48))
    assert decode_image(png(small, data)).size == (64, 48)
    with pytest.raises(ImageTooLargeError, match="chunks"):
        decode_image(png(small, data)[:-12] + chunk(b"tEXt", b"a\0b") * 20_000)
    deep_and_large = struct.pack(">IIBBBBB", 6000, 6000, 16, 6, 0, 0, 1)
    with pytest.raises(ImageTooLargeError, match="288 million bytes"):
        decode_image(png(deep_and_large, data))


@pytest.mark.parametrize("size", [(1, 65_536), (65_536, 1)])
def test_sides_are_bounded_before_decoding(size: tuple[int, int]) -> None:
    with pytest.raises(ImageTooLargeError, match="65,535 a side"):
        decode_image(png(struct.pack(">IIBBBBB", *size, 1, 0, 0, 0, 0), b""))


def test_boxes_of_an_avif_are_bounded() -> None:
    data, free = encoded("AVIF"), b"\0\0\0\x08free"
    assert (np.asarray(decode_image(data + free * 900)) == pixels(data)).all()
    with pytest.raises(ImageTooLargeError, match="parts"):
        decode_image(data + free * 1000)


def test_a_png_without_its_end_is_taken_if_its_pixels_are_there() -> None:
    data = encoded("PNG")
    assert (np.asarray(decode_image(data[:-12])) == pixels(data)).all()
    with pytest.raises(BadImageError, match="cut short"):
        decode_image(data[:-40] + data[-12:])


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize(
    "before",
    [
        b"\r\n",
        b"\xef\xbb\xbf",
        b"--b\r\nContent-Disposition: form-data; name=f\r\nContent-Type: image/x\r\n\r\n",
        b'Content-Disposition: form-data; name="ftyp"; filename="RIFF of ftyp.webp"\r\n\r\n',
        bytes(1024),
    ],
)
def test_bytes_before_a_picture_are_skipped(image_format: str, before: bytes) -> None:
    data = encoded(image_format)
    assert (np.asarray(decode_image(before + data)) == np.asarray(decode_image(data))).all()


def test_a_heic_behind_other_bytes_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "is_available", lambda: False)
    with pytest.raises(UnsupportedImageError, match="HEIC"):
        decode_image(b'filename="RIFF.heic"\r\n\r\n\0\0\0\x18ftypheic\0\0\0\0mif1heic')


def test_a_picture_behind_more_than_a_kibibyte_is_not_looked_for() -> None:
    with pytest.raises(BadImageError, match="not an image"):
        decode_image(bytes(1025) + JPEGS["baseline"])


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="the transformers for it (5.20) ignores transparency"
)
def test_transparency_is_white_as_in_the_processor_of_the_model() -> None:
    from transformers.image_transforms import convert_to_rgb
    from transformers.models.idefics3.image_processing_pil_idefics3 import (
        Idefics3ImageProcessorPil,
    )

    image = photo(16, 16)
    image.putalpha(Image.linear_gradient("L").resize((16, 16)))
    processor = Idefics3ImageProcessorPil()
    theirs = getattr(processor, "convert_to_rgb", convert_to_rgb)(image)
    ours = decode_image(encoded("PNG", image))
    assert np.abs(np.asarray(theirs, int) - np.asarray(ours, int)).max() <= 1


def xmp(orientation: int) -> bytes:
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
    ) % orientation


def with_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize(
    ("image_format", "options", "turned"),
    [
        ("JPEG", {"xmp": xmp(6)}, True),
        ("WEBP", {"xmp": xmp(6)}, True),
        ("PNG", {"xmp": xmp(6)}, False),
        ("JPEG", {"xmp": xmp(6), "exif": with_exif(1)}, False),
        ("JPEG", {"xmp": xmp(1), "exif": with_exif(6)}, True),
    ],
)
def test_exif_goes_before_xmp(image_format: str, options: dict[str, object], turned: bool) -> None:
    size = decode_image(encoded(image_format, photo(60, 40), **options)).size
    assert size == ((40, 60) if turned else (60, 40))


def test_a_picture_of_a_client_that_has_left_is_not_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[object] = []
    monkeypatch.setattr(jpeg, "decode", lambda *given: decoded.append(given))
    for data in (JPEGS["baseline"], encoded("PNG")):
        with pytest.raises(StreamClosedError):
            decode_image(data, lambda: True)
    assert not decoded


def test_large_pictures_are_decoded_one_at_a_time_and_leave_places_to_small_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large, small = encoded(image=Image.new("RGB", (4200, 3000))), JPEGS["baseline"]
    running, most = 0, 0
    lock, go = threading.Lock(), threading.Event()

    def counted(data: bytes, is_cancelled: Callable[[], bool]) -> Image.Image | None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go.wait(60)
        with lock:
            running -= 1
        return decode_apart(data, is_cancelled)

    monkeypatch.setattr(decode, "decode_apart", counted)
    threads = [threading.Thread(target=decode_image, args=(large,)) for _ in range(MAX_LARGE)]
    for thread in threads:
        thread.start()
    wait_until(lambda: _LARGE._value == 0)
    with pytest.raises(BusyError, match="Try again in"):
        decode_image(large)
    # Returns although large pictures wait or are decoded.
    assert decode_image(small).size == (160, 120)
    go.set()
    for thread in threads:
        thread.join()
    assert most == 1
    assert decode_image(large).width == 2048
