"""From a frame to the vision encoder's input: resize, cut into tiles, normalise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlm.checkpoints.files import OLDER_PROCESSOR_FILE, PROCESSOR_FILE, read_json
from vlm.errors import CheckpointError
from vlm.processing.resize import Part, Piece, part_read, resize, resize_piece
from vlm.types import Detail

# [tiles, 3, side, side], normalised.
PixelValues: TypeAlias = npt.NDArray[np.float32]
# [tiles, side, side, 3], levels of 0 to 255.
Tiles: TypeAlias = npt.NDArray[np.uint8]

# Idefics3's and SmolVLM's do the same, in each of transformers' implementations.
_TYPES: Final = tuple(
    f"{model}ImageProcessor{library}"
    for model in ("Idefics3", "SmolVLM")
    for library in ("", "Fast", "Pil")
)
# "4k resolution as absolute maximum" (transformers).
_LONGEST_PX: Final = 4096
_CHANNELS: Final = 3


# Share of the model's tile in the side of the one tile of an image; of all others it is 1.
_SIDES: Final[dict[Detail, float]] = {"tiny": 1 / 2, "small": 3 / 4}
# The default of Idefics3Processor if its file has none.
_DEFAULT_IMAGE_SEQ_LEN: Final = 169


class TileGrid(NamedTuple):
    """Rows and columns of tiles; 0 x 0 if the whole image is the only tile."""

    rows: int
    columns: int
    row_tokens: int
    """Tokens in a row of a tile, which is a square of them."""

    @property
    def tiles(self) -> int:
        """Number of tiles, the one of the whole image included."""
        return self.rows * self.columns + 1

    @property
    def tile_tokens(self) -> int:
        """Number of tokens of a tile."""
        return self.row_tokens**2


class ImageProcessor:
    """transformers' Idefics3ImageProcessor for one RGB image, in Pillow and NumPy alone.

    An image of any size becomes one square tile (detail "low", "small" and "tiny"), or a grid of
    tiles followed by the whole image as one more (detail "high"; only the whole if one tile holds
    it).
    https://github.com/huggingface/transformers/blob/main/src/transformers/models/idefics3
    """

    def __init__(self, config: dict[str, Any], row_tokens: int) -> None:
        """`config` is the content of an image processor's file.

        `row_tokens` is the number of tokens in a row of the model's tile. Raise CheckpointError if
        the file is of another processor or a value is invalid.
        """
        self.row_tokens = row_tokens
        config = {key: value for key, value in config.items() if value is not None}
        kind = config.get("image_processor_type")
        if kind not in _TYPES:
            raise CheckpointError(
                f"Sightline knows no image processor {kind!r}, only {_TYPES[0]} and {_TYPES[3]}. "
                "Choose another --model."
            )
        try:
            self.tile_px = int(config["max_image_size"]["longest_edge"])
            self._longest_px = int(config["size"]["longest_edge"])
            self._does_resize = bool(config.get("do_resize", True))
            self._filter = Image.Resampling(config.get("resample", Image.Resampling.LANCZOS))
            self._levels = _levels(config)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"The image processor's configuration has a missing or invalid value: {error}. "
                "Get the whole checkpoint again."
            ) from error
        if not (0 < self.tile_px <= _LONGEST_PX and self._longest_px > 0):
            raise CheckpointError(
                f"The image processor makes tiles of {self.tile_px} pixels out of images of "
                f"{self._longest_px}; tiles have 1 to {_LONGEST_PX}."
            )

    @classmethod
    def load(cls, folder: Path) -> ImageProcessor:
        """Load the image processor of the checkpoint in `folder`; raise CheckpointError."""
        older, newer = folder / OLDER_PROCESSOR_FILE, folder / PROCESSOR_FILE
        config = read_json(newer) if newer.is_file() else {}
        tokens = config.get("image_seq_len", _DEFAULT_IMAGE_SEQ_LEN)
        if not isinstance(tokens, int) or tokens < 1 or math.isqrt(tokens) ** 2 != tokens:
            raise CheckpointError(
                f"{newer} has image_seq_len {tokens!r}, which must be a square number."
            )
        nested = config.get("image_processor")
        own = nested if isinstance(nested, dict) else read_json(older)
        return cls(own, math.isqrt(tokens))

    def grid_of(self, size: tuple[int, int], detail: Detail) -> TileGrid:
        """Return the grid that an image of `size`, (width, height), is cut into."""
        whole_only = TileGrid(0, 0, self._row_tokens(detail))
        if detail != "high":
            return whole_only
        width, height = self._tiled_size(self._bounded_size(size))
        grid = TileGrid(height // self.tile_px, width // self.tile_px, whole_only.row_tokens)
        return whole_only if grid[:2] == (1, 1) else grid

    def side_px(self, detail: Detail) -> int:
        """Return the side of a tile."""
        return self.tile_px * self._row_tokens(detail) // self.row_tokens

    def pixel_values(self, image: Image.Image, detail: Detail) -> PixelValues:
        """Return the tiles of an RGB `image`, normalised."""
        return self.normalised(self.tiles(image, detail))

    def tiles(self, image: Image.Image, detail: Detail) -> Tiles:
        """Return the tiles of an RGB `image`: row by row, the whole image last."""
        grid, side_px = self.grid_of(image.size, detail), self.side_px(detail)
        tiles = np.empty((grid.tiles, side_px, side_px, _CHANNELS), np.uint8)
        image = resize(image, self._bounded_size(image.size), self._filter)
        if detail == "high":
            image = resize(image, self._tiled_size(image.size), self._filter)
            pixels = np.asarray(image)
            for index in range(grid.tiles - 1):
                row, column = divmod(index, grid.columns)
                top, left = side_px * row, side_px * column
                tiles[index] = pixels[top : top + side_px, left : left + side_px]
        tiles[-1] = np.asarray(resize(image, (side_px, side_px), self._filter))
        return tiles

    def normalised(self, tiles: Tiles) -> PixelValues:
        """Return `tiles` as the vision encoder takes them."""
        count, height, width, _ = tiles.shape
        pixel_values = np.empty((count, _CHANNELS, height, width), np.float32)
        for tile, out in zip(tiles, pixel_values, strict=True):
            for channel, levels in enumerate(self._levels):
                # With "clip" NumPy writes into `out` unbuffered; no index is out of bounds.
                np.take(levels, tile[..., channel], out=out[channel], mode="clip")
        return pixel_values

    def tile_part(self, image: Image.Image, part: Part, detail: Detail) -> Tiles:
        """Return `part` of the one tile of an RGB `image`, [1, height, width, 3].

        Some pixels may be two levels of 255 off those of `tiles`: one for each resize_piece.
        """
        side_px = self.side_px(detail)
        between, tile = self._bounded_size(image.size), (side_px, side_px)
        piece = Piece(image, Part(0, 0, *image.size), image.size)
        piece = resize_piece(piece, between, part_read(part, between, tile), self._filter)
        return np.asarray(resize_piece(piece, tile, part, self._filter).pixels)[None]

    def _row_tokens(self, detail: Detail) -> int:
        # Whole tokens, so that the tile has all patches of each.
        return max(1, int(_SIDES.get(detail, 1) * self.row_tokens))

    def _bounded_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return `size` scaled to the configuration's longest side, the other one even."""
        if not self._does_resize:
            return size
        width, height = size
        longest = self._longest_px
        # Rounded exactly as transformers does, or sizes differ by a pixel.
        aspect = width / height
        other = int(longest / aspect) if width >= height else int(longest * aspect)
        other = max(other + other % 2, 1)
        width, height = (longest, other) if width >= height else (other, longest)
        aspect = width / height
        if width >= height and width > _LONGEST_PX:
            width, height = _LONGEST_PX, int(_LONGEST_PX / aspect)
        elif height > width and height > _LONGEST_PX:
            width, height = int(_LONGEST_PX * aspect), _LONGEST_PX
        return max(width, 1), max(height, 1)

    def _tiled_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size of the grid of complete tiles that holds `size`."""
        width, height = size
        aspect = width / height
        if width >= height:
            width = self._whole_tiles(width)
            return width, self._whole_tiles(int(width / aspect))
        height = self._whole_tiles(height)
        return self._whole_tiles(int(height * aspect)), height

    def _whole_tiles(self, length_px: int) -> int:
        return math.ceil(length_px / self.tile_px) * self.tile_px


def _levels(config: dict[str, Any]) -> npt.NDArray[np.float32]:
    """Return the normalised value of each byte, [3, 256].

    Rescaling, mean and deviation are applied in the precisions that transformers uses.
    """
    levels = np.arange(256, dtype=np.float64)
    if config.get("do_rescale", True):
        levels *= float(config.get("rescale_factor", 1 / 255))
    channels = np.broadcast_to(levels.astype(np.float32), (_CHANNELS, 256))
    if config.get("do_normalize", True):
        mean, deviation = (
            np.broadcast_to(np.array(config.get(name, 0.5), np.float32), _CHANNELS)[:, None]
            for name in ("image_mean", "image_std")
        )
        if not (np.isfinite(mean).all() and (np.abs(deviation) > 0).all()):
            raise ValueError("image_mean must be finite and image_std must not be 0")
        channels = (channels - mean) / deviation
    return channels
