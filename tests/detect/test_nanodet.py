"""Laws of the bundled detector's boxes."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image, ImageOps

from vlm.detect.boxes import distinct_boxes
from vlm.detect.coco import DISPLAY_THRESHOLDS
from vlm.detect.detector import Detector, load_detector, shown
from vlm.detect.nanodet import MODEL_FILE, NanoDet
from vlm.errors import SettingsError
from vlm.images.decode import decode_image
from vlm.results import Box

NOISE = np.random.default_rng(7).integers(0, 256, (480, 640, 3), dtype=np.uint8)
EMPTY = {
    "black": Image.new("RGB", (640, 480)),
    "white": Image.new("RGB", (640, 480), "white"),
    "grey": Image.new("RGB", (640, 480), (128, 128, 128)),
    "noise": Image.fromarray(NOISE),
    "one pixel": Image.new("RGB", (1, 1), "red"),
    "a row of pixels": Image.new("RGB", (2048, 1), "red"),
    "a column of pixels": Image.new("RGB", (1, 2048), "red"),
}
# The surest thing of each of scikit-image's photographs.
KNOWN = {
    "astronaut": "person",
    "camera": "person",
    "chelsea": "cat",
    "horse": "horse",
    "motorcycle_left": "motorcycle",
    "motorcycle_right": "motorcycle",
}
# Things that people named in the captions of photographs beside the repository.
KNOWN_SHARED = {
    "000000000285": {"bear"},
    "000000001000": {"person"},
    "000000007574": {"refrigerator", "bottle"},
    "000000008021": {"person", "tie"},
    "000000009483": {"person", "laptop"},
    "000000012280": {"person", "suitcase"},
    "000000030213": {"refrigerator", "chair"},
    "000000165518": {"person", "motorcycle"},
    "000000189775": {"person"},
    "000000214753": {"person", "horse"},
    "000000252332": {"stop sign"},
    "000000262440": {"toilet"},
    "000000347254": {"person"},
    "000000403353": {"bed"},
    "000000423617": {"car", "bus"},
}


def overlap(a: Box, b: Box) -> float:
    """Return the intersection of two boxes over their union."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    shared = max(0.0, width) * max(0.0, height)
    areas = sum((each.x1 - each.x0) * (each.y1 - each.y0) for each in (a, b))
    return shared / (areas - shared)


def moved(box: Box, corner: Callable[[float, float], tuple[float, float]]) -> Box:
    """Return `box` with its corners moved by `corner`."""
    (x0, y0), (x1, y1) = corner(box.x0, box.y0), corner(box.x1, box.y1)
    return Box(box.name, box.score, min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_frame_shows_no_box(nanodet: Detector, name: str) -> None:
    assert shown(nanodet.detect(EMPTY[name])) == []


@pytest.mark.parametrize("name", ["brick", "grass", "gravel"])
def test_a_texture_shows_no_box(
    nanodet: Detector, photographs: dict[str, Image.Image], name: str
) -> None:
    assert shown(nanodet.detect(photographs[name])) == []


@pytest.mark.parametrize("precision", ["f32", "bf16", None])
def test_each_precision_finds_what_a_photograph_shows(
    photographs: dict[str, Image.Image], precision: str | None
) -> None:
    detector = NanoDet(precision=precision)  # type: ignore[arg-type]
    found = {name: shown(detector.detect(photographs[name])) for name in KNOWN}
    assert {name: boxes[0].name for name, boxes in found.items() if boxes} == KNOWN


def test_things_that_captions_name_are_found(nanodet: Detector, shared_dir: Path) -> None:
    for name, things in KNOWN_SHARED.items():
        image = decode_image((shared_dir / "photos" / f"{name}.jpg").read_bytes())
        assert things <= {box.name for box in shown(nanodet.detect(image))}, name


def test_boxes_lie_within_the_frame_the_surest_first(
    nanodet: Detector, photographs: dict[str, Image.Image]
) -> None:
    for image in photographs.values():
        boxes = nanodet.detect(image)
        assert [box.score for box in boxes] == sorted((b.score for b in boxes), reverse=True)
        for box in boxes:
            assert 0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1
            assert 0.25 <= box.score <= 1
            assert box.name in nanodet.classes


def test_copies_of_a_photograph_have_the_same_box(
    nanodet: Detector, photographs: dict[str, Image.Image]
) -> None:
    # Chelsea the cat, 451 x 300: the copy, and where a corner of a box moves to.
    image = photographs["chelsea"]
    width, height = image.size
    (cat, *_) = nanodet.detect(image)
    copies: dict[str, tuple[Image.Image, Callable[[float, float], tuple[float, float]]]] = {
        "mirrored": (ImageOps.mirror(image), lambda x, y: (1 - x, y)),
        "larger": (image.resize((3 * width, 3 * height)), lambda x, y: (x, y)),
        "smaller": (image.resize((width // 2, height // 2)), lambda x, y: (x, y)),
        "letterboxed": (
            ImageOps.pad(image, (width, width)),
            lambda x, y: (x, (y * height + (width - height) / 2) / width),
        ),
        "pillarboxed": (
            ImageOps.pad(image, (2 * width, height)),
            lambda x, y: ((x * width + width / 2) / (2 * width), y),
        ),
    }
    for name, (copy, corner) in copies.items():
        (box, *_) = nanodet.detect(copy)
        assert box.name == "cat", name
        assert overlap(box, moved(cat, corner)) > 0.85, name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_turned_by_its_exif_has_the_boxes_of_the_upright_one(
    nanodet: Detector, photographs: dict[str, Image.Image], orientation: int
) -> None:
    upright = photographs["chelsea"]
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turns[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = io.BytesIO()
    stored.save(data, "PNG", exif=exif)
    assert nanodet.detect(decode_image(data.getvalue())) == nanodet.detect(upright)


def test_one_thing_has_one_name(nanodet: Detector, photographs: dict[str, Image.Image]) -> None:
    for image in photographs.values():
        boxes = nanodet.detect(image)
        for index, box in enumerate(boxes):
            assert all(overlap(box, other) <= 0.6001 for other in boxes[index + 1 :])


# Names, scores and corners in a frame of 100 x 50 pixels, and what is left of them.
RAW_BOXES: list[tuple[list[tuple[str, float, tuple[float, ...]]], list[str]]] = [
    ([], []),
    ([("sheep", 0.5, (0, 0, 40, 40)), ("bear", 0.6, (1, 0, 40, 40))], ["bear"]),
    ([("cup", 0.5, (0, 0, 40, 40)), ("cup", 0.6, (20, 0, 60, 40))], ["cup", "cup"]),
    ([("cup", 0.5, (10, 10, 20, 20)), ("table", 0.6, (0, 0, 90, 50))], ["table", "cup"]),
    # The first overlaps the second, which overlaps the third: the first is no reason to keep it.
    ([(str(n), 0.9 - n / 10, (5 * n, 0, 40 + 5 * n, 40)) for n in range(3)], ["0", "2"]),
    ([("outside", 0.9, (-30, 0, 0, 40)), ("thin", 0.8, (5, 5, 5.5, 40))], []),
    ([("turned", 0.9, (40, 0, 10, 40))], []),
]


@pytest.mark.parametrize(("raw", "left"), RAW_BOXES)
def test_boxes_of_the_same_place_are_one_thing(
    raw: list[tuple[str, float, tuple[float, ...]]], left: list[str]
) -> None:
    names = [name for name, _, _ in raw]
    scores = np.array([score for _, score, _ in raw], np.float32)
    corners = np.array([corner for _, _, corner in raw], float).reshape(-1, 4)
    assert [box.name for box in distinct_boxes(names, scores, corners, (100, 50))] == left


def test_a_frame_has_at_most_a_hundred_boxes() -> None:
    corners = np.array([[x, y, x + 5, y + 5] for x in range(0, 100, 5) for y in range(0, 50, 5)])
    scores = np.linspace(0.3, 0.9, len(corners), dtype=np.float32)
    boxes = distinct_boxes(["cup"] * len(corners), scores, corners.astype(float), (100, 50))
    assert len(boxes) == 100
    assert boxes[0].score == pytest.approx(0.9)


def test_threads_get_the_boxes_of_their_own_frames(
    nanodet: Detector, photographs: dict[str, Image.Image]
) -> None:
    images = [photographs[name] for name in KNOWN] * 3
    alone = [nanodet.detect(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(nanodet.detect, images)) == alone


def test_memory_does_not_grow_with_frames_of_new_sizes(
    nanodet: Detector, photographs: dict[str, Image.Image]
) -> None:
    image = photographs["chelsea"]
    process = psutil.Process()

    def resident_bytes_after(sizes: range) -> int:
        for side in sizes:
            nanodet.detect(image.resize((side, 700 - side)))
        return int(process.memory_info().rss)

    before = resident_bytes_after(range(50, 80))
    assert resident_bytes_after(range(100, 200)) < before + 15_000_000


def test_weights_are_small_and_have_their_licences() -> None:
    folder = MODEL_FILE.parent
    assert sum(file.stat().st_size for file in folder.glob("nanodet.*")) <= 8_000_000
    assert "Copyright 2020-2021 RangiLyu" in (folder / "LICENSE-nanodet").read_text()
    assert "Vladimir Mandic" in (folder / "LICENSE-human-models").read_text()


def test_each_class_has_a_display_threshold(nanodet: Detector) -> None:
    assert len(nanodet.classes) == 80
    assert nanodet.classes == tuple(DISPLAY_THRESHOLDS)
    assert all(0.25 < threshold < 1 for threshold in DISPLAY_THRESHOLDS.values())
    boxes = [Box("cup", score, 0, 0, 1, 1) for score in (0.3, 0.5)]
    assert shown(boxes) == boxes[1:]
    assert shown(boxes, "owlv2-base") == boxes


def test_another_name_is_no_detector() -> None:
    with pytest.raises(SettingsError, match="nanodet, owlv2-base, grounding-dino-tiny"):
        load_detector("yolo")
