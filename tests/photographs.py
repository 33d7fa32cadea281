"""Free photographs of real things, from scikit-image's package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

from vlm.images.decode import decode_image


def photograph_bytes(name: str) -> bytes:
    """Return the file of a photograph: astronaut, camera, chelsea (a cat), coffee, page, ..."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        pytest.skip("needs scikit-image's photographs")
    return (Path(spec.origin).parent / "data" / f"{name}.png").read_bytes()


def photograph(name: str) -> Image.Image:
    """Return a photograph as a frame."""
    return decode_image(photograph_bytes(name))
