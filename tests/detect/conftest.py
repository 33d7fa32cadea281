"""The bundled detector, photographs, and small checkpoints of the other detectors."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from detector_kit import make_grounding_dino, make_owlv2
from PIL import Image

from vlm.detect.detector import Detector, load_detector


@pytest.fixture(scope="session")
def nanodet() -> Detector:
    """Return the bundled detector."""
    return load_detector("nanodet")


@pytest.fixture(scope="session")
def photographs() -> dict[str, Image.Image]:
    """Return the pictures that scikit-image's package holds, by name."""
    package = find_spec("skimage")
    assert package is not None and package.origin is not None
    files = sorted((Path(package.origin).parent / "data").glob("*.png"))
    return {file.stem: Image.open(file).convert("RGB") for file in files}


@pytest.fixture(scope="session")
def owlv2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small OWLv2 with random weights."""
    folder = tmp_path_factory.mktemp("detectors") / "owlv2"
    make_owlv2(folder)
    return folder


@pytest.fixture(scope="session")
def grounding_dino_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small Grounding DINO with random weights."""
    folder = tmp_path_factory.mktemp("detectors") / "grounding_dino"
    make_grounding_dino(folder)
    return folder
