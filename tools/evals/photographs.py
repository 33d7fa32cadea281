"""Photographs to evaluate on: COCO's beside the repository, and those in scikit-image's package."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, Final

from PIL import Image

from vlm.errors import SightlineError
from vlm.images.decode import decode_image

ROOT: Final = Path(__file__).resolve().parents[2]
DEFAULT_FOLDER: Final = ROOT.parent / "shared" / "photos"
LISTS: Final = Path(__file__).with_name("pictures.json")

_SUFFIXES: Final = (".png", ".jpg")


def lists() -> Any:
    """Return the lists of pictures that were fixed before anything was measured."""
    return json.loads(LISTS.read_text("utf-8"))


def coco(folder: Path) -> dict[str, Image.Image]:
    """Return the photographs of COCO by the names of their files; none if the folder is absent."""
    return {path.name: _read(path) for path in sorted(folder.glob("*.jpg"))}


def scikit_image(folder: Path | None = None) -> dict[str, Image.Image]:
    """Return scikit-image's pictures by the names of their files.

    They come from the installed package unless `folder` holds them. Raise SightlineError if they
    are not there.
    """
    if folder is None:
        # Not imported: its data is all that is needed.
        spec = importlib.util.find_spec("skimage")
        if spec is None or spec.origin is None:
            raise SightlineError(
                "The pictures of scikit-image are needed: pip install -r requirements-dev.txt, or "
                "name a folder with those of its skimage/data: --scikit-image FOLDER."
            )
        folder = Path(spec.origin).parent / "data"
    return {path.name: _read(path) for path in sorted(folder.glob("*")) if path.suffix in _SUFFIXES}


def _read(path: Path) -> Image.Image:
    return decode_image(path.read_bytes())
