"""The image processor equals that of transformers, pixel for pixel.

transformers resizes with Pillow, whose releases resample rows and columns in different orders. The
reference is transformers with rows first, as in Pillow up to release 12.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate
from transformers import Idefics3ImageProcessorPil

from vlm.errors import CheckpointError
from vlm.processing import resize as resizing
from vlm.processing.image_processor import ImageProcessor
from vlm.types import Detail

SIZES = [
    (1, 1),
    (1, 500),
    (500, 1),
    (3, 2),
    (101, 33),
    (192, 192),
    (193, 191),
    (385, 640),
    (640, 480),
    (1280, 720),
]
# Tiles as large as SmolVLM's are slow.
# In a row of a tile of nano and of SmolVLM-256M.
ROW_TOKENS = 8
FEW_SIZES = [(640, 480), (333, 500), (2500, 31)]
PHOTO_COUNT = 4


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "preprocessor_config.json").read_text())
    return config


@pytest.fixture(autouse=True)
def rows_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pillow resample rows before columns, whatever its release does."""
    one_pass = Image.Image.resize

    def in_two_passes(
        image: Image.Image, size: tuple[int, int], *args: Any, **options: Any
    ) -> Image.Image:
        across = one_pass(image, (size[0], image.height), *args, **options)
        return one_pass(across, size, *args, **options)

    monkeypatch.setattr(Image.Image, "resize", in_two_passes)


@pytest.fixture(scope="module")
def nano_config(nano_dir: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((nano_dir / "processor_config.json").read_text())
    image_processor: dict[str, Any] = config["image_processor"]
    return image_processor


def noise(size: tuple[int, int]) -> Image.Image:
    """Return the hardest image to resample: all values, an edge at each pixel."""
    width, height = size
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def assert_identical(config: dict[str, Any], image: Image.Image, detail: Detail) -> int:
    """Compare our pixels with those of transformers; return the number of tiles."""
    ours = ImageProcessor(config, ROW_TOKENS)
    theirs = Idefics3ImageProcessorPil(**config)(
        images=[image],
        do_image_splitting=detail == "high",
        return_row_col_info=True,
        return_tensors="np",
    )
    pixel_values = ours.pixel_values(image, detail)
    expected = theirs["pixel_values"][0]
    assert pixel_values.dtype == np.float32
    assert pixel_values.shape == expected.shape
    assert (pixel_values == expected).all()
    grid = ours.grid_of(image.size, detail)
    assert grid[:2] == (theirs["rows"][0][0], theirs["cols"][0][0])
    assert grid.tiles == len(pixel_values)
    return len(pixel_values)


@pytest.mark.parametrize("detail", ["low", "high"])
@pytest.mark.parametrize("tiles", [1, 2, 3])
def test_pixels_equal_transformers(nano_config: dict[str, Any], detail: Detail, tiles: int) -> None:
    side_px = nano_config["max_image_size"]["longest_edge"]
    config = nano_config | {"size": {"longest_edge": side_px * tiles - (tiles == 3)}}
    compared = [assert_identical(config, noise(size), detail) for size in SIZES]
    assert (max(compared) > 1) == (detail == "high" and tiles > 1)


@pytest.mark.parametrize(
    ("detail", "tile_px", "row_tokens"), [("tiny", 256, 4), ("small", 384, 6), ("low", 512, 8)]
)
def test_smaller_tiles_equal_transformers(
    smolvlm_dir: Path, detail: Detail, tile_px: int, row_tokens: int
) -> None:
    config = config_of(smolvlm_dir)
    ours = ImageProcessor(config, ROW_TOKENS)
    theirs = Idefics3ImageProcessorPil(**config | {"max_image_size": {"longest_edge": tile_px}})
    image = noise((640, 480))
    expected = theirs(images=[image], do_image_splitting=False, return_tensors="np")
    assert (ours.pixel_values(image, detail) == expected["pixel_values"][0]).all()
    assert ours.grid_of(image.size, detail) == (0, 0, row_tokens)


@pytest.mark.parametrize(
    ("row_tokens", "longest_edge", "sides"),
    # The last two: SmolVLM-2.2B, 27 patches of 14 px and 9 tokens in a row, and one token.
    [(8, 192, (96, 144, 192)), (9, 384, (170, 256, 384)), (1, 32, (32, 32, 32))],
)
def test_sides_have_whole_tokens(
    nano_config: dict[str, Any], row_tokens: int, longest_edge: int, sides: tuple[int, ...]
) -> None:
    config = nano_config | {"max_image_size": {"longest_edge": longest_edge}}
    ours = ImageProcessor(config, row_tokens)
    for detail, side_px in zip(("tiny", "small", "low"), sides, strict=True):
        assert ours.pixel_values(noise((64, 48)), detail).shape == (1, 3, side_px, side_px)


@pytest.mark.parametrize("detail", ["low", "high"])
@pytest.mark.parametrize("size", FEW_SIZES)
def test_pixels_of_smolvlm_256m_equal_transformers(
    smolvlm_dir: Path, size: tuple[int, int], detail: Detail
) -> None:
    tiles = assert_identical(config_of(smolvlm_dir), noise(size), detail)
    assert (tiles == 1) == (detail == "low")


def test_pixels_of_photos_equal_transformers(
    shared_dir: Path, smolvlm_dir: Path, nano_config: dict[str, Any]
) -> None:
    for file in sorted((shared_dir / "photos").glob("*.jpg"))[:PHOTO_COUNT]:
        photo = Image.open(file).convert("RGB")
        assert_identical(nano_config, photo, "low")
        assert_identical(config_of(smolvlm_dir), photo, "low")


@pytest.mark.parametrize(
    "changed",
    [
        {"do_resize": False},
        {"do_rescale": False},
        {"do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
        {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.268, 0.261, 0.275]},
        {"image_mean": 0.3, "image_std": 0.7, "rescale_factor": 0.0123},
        {"resample": 2},
        {"resample": 3},
        {"do_pad": False},
        {"size": {"longest_edge": 5000}, "max_image_size": {"longest_edge": 1024}},
    ],
    ids="-".join,
)
@pytest.mark.parametrize("detail", ["low", "high"])
def test_pixels_equal_transformers_with_each_setting(
    nano_config: dict[str, Any], changed: dict[str, Any], detail: Detail
) -> None:
    config = nano_config | {"size": {"longest_edge": 384}} | changed
    assert_identical(config, noise((200, 90)), detail)


@pytest.mark.parametrize("key", ["resample", "image_mean", "image_std", "rescale_factor"])
@pytest.mark.parametrize("absent", ["missing", "null"])
def test_defaults_equal_transformers(nano_config: dict[str, Any], key: str, absent: str) -> None:
    kept = {name: value for name, value in nano_config.items() if name != key}
    whole = ImageProcessor(kept if absent == "missing" else kept | {key: None}, ROW_TOKENS)
    theirs = Idefics3ImageProcessorPil(**kept)(images=[noise((90, 50))], return_tensors="np")
    assert (whole.pixel_values(noise((90, 50)), "low") == theirs["pixel_values"][0]).all()


def test_grid_equals_transformers_at_any_size(nano_config: dict[str, Any]) -> None:
    config = nano_config | {
        "size": {"longest_edge": 40},
        "max_image_size": {"longest_edge": 10},
        "resample": Image.Resampling.NEAREST,
    }
    chance = random.Random(5)
    ours, theirs = ImageProcessor(config, ROW_TOKENS), Idefics3ImageProcessorPil(**config)
    grids = set()
    for _ in range(300):
        size = chance.randint(1, 120), chance.randint(1, 120)
        made = theirs(
            images=[Image.new("RGB", size)], do_image_splitting=True, return_row_col_info=True
        )
        grid = ours.grid_of(size, "high")
        assert grid[:2] == (made["rows"][0][0], made["cols"][0][0]), size
        assert ours.pixel_values(Image.new("RGB", size), "high").shape == (grid.tiles, 3, 10, 10)
        grids.add(grid)
    assert len(grids) > 5


@pytest.mark.parametrize("resample", list(Image.Resampling))
def test_resizing_in_strips_changes_no_pixel(
    monkeypatch: pytest.MonkeyPatch, resample: Image.Resampling
) -> None:
    monkeypatch.setattr(resizing, "_MIN_PIXELS", 1)
    monkeypatch.setattr(resizing, "_THREADS", 3)
    chance = random.Random(6)
    for _ in range(120):
        old, new = ((chance.randint(1, 90), chance.randint(1, 90)) for _ in range(2))
        image = noise(old)
        resized = resizing.resize(image, new, resample)
        assert resized.tobytes() == image.resize(new, resample).tobytes(), (old, new)


# torch has no Lanczos; the order of its passes is the same for all filters.
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (333, 777), (464, 1523), (1000, 3)])
def test_resizing_is_within_two_levels_of_torch(size: tuple[int, int]) -> None:
    image = noise(size)
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None]
    theirs = interpolate(pixels, size=(192, 192), mode="bicubic", antialias=True)
    ours = resizing.resize(image, (192, 192), Image.Resampling.BICUBIC)
    difference = np.asarray(ours).astype(int) - theirs[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1280, 720), (2047, 3), (3, 2047)])
def test_resizing_frame_sizes_equals_pillow(size: tuple[int, int]) -> None:
    image = noise(size)
    for new in ((2048, 1536), (512, 512)):
        image, expected = resizing.resize(image, new, 1), image.resize(new, 1)
        assert image.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"image_processor_type": "CLIPImageProcessor"}, "CLIPImageProcessor"),
        ({"image_processor_type": None}, "None"),
        ({"image_processor_type": ["Idefics3ImageProcessor"]}, "Idefics3ImageProcessor"),
        ({"size": None}, "size"),
        ({"size": {"shortest_edge": 5}}, "longest_edge"),
        ({"size": 512}, "configuration"),
        ({"max_image_size": {}}, "longest_edge"),
        ({"max_image_size": {"longest_edge": 0}}, "tiles of 0 pixels"),
        ({"max_image_size": {"longest_edge": 10**9}}, "tiles of 1000000000 pixels"),
        ({"size": {"longest_edge": -3}}, "images of -3"),
        ({"resample": 77}, "77"),
        ({"resample": "lanczos"}, "lanczos"),
        ({"image_mean": [0.5, 0.5]}, "configuration"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std"),
        ({"image_mean": "grey"}, "grey"),
        ({"rescale_factor": [1]}, "configuration"),
    ],
)
def test_invalid_configuration_is_refused_by_name(
    nano_config: dict[str, Any], changed: dict[str, Any], named: str
) -> None:
    with pytest.raises(CheckpointError, match=named):
        ImageProcessor(nano_config | changed, ROW_TOKENS)
