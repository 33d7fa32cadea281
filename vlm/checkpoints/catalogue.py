"""The known models, and how to find a model on this machine; no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vlm.checkpoints.files import ModelSize, check_folder
from vlm.checkpoints.hub_cache import HUB_ID, CachedRepository
from vlm.errors import CheckpointError

BUNDLED_MODEL: Final = "nano"
BUNDLED_FOLDER: Final = Path(__file__).parents[1] / "nano" / "checkpoint"


@dataclass(frozen=True)
class KnownModel:
    """A model that `--model` accepts under a short name."""

    name: str
    title: str
    hub_id: str | None  # None for the bundled model
    revision: str  # a commit, or a branch
    good_for: str  # a short sentence for people
    download_bytes: int  # approximate; the hub gives the exact size
    size: ModelSize
    # How its answers begin if it does not know the frame, for models that say so.
    unfamiliar: tuple[str, ...] = ()


# Parameters were counted in transformers' models of the published configurations on the meta
# device, for SmolVLM-256M also in the published weights. A download has 2 bytes per parameter
# (bfloat16), of SmolVLM2 4 (float32), and 4 MB of tokenizer.
_256M: Final = ModelSize(256_484_928, 93_510_912, 28_385_280, 30, 3, 64, 8192)
_500M: Final = ModelSize(507_482_304, 98_229_504, 47_308_800, 32, 5, 64, 8192)

KNOWN_MODELS: Final = (
    KnownModel(
        name=BUNDLED_MODEL,
        title="nano",
        hub_id=None,
        revision="",
        good_for="Drawn, coloured shapes; it is part of Sightline and starts at once.",
        download_bytes=0,
        size=ModelSize(3_860_320, 2_089_120, 196_608, 4, 2, 32, 2048),
        unfamiliar=(
            "An unfamiliar scene",
            "This scene is unfamiliar to me.",
            '{"scene": "unfamiliar"',
        ),
    ),
    KnownModel(
        name="smolvlm-256m",
        title="SmolVLM 256M",
        hub_id="HuggingFaceTB/SmolVLM-256M-Instruct",
        revision="main",
        good_for="Real scenes in a sentence, live on a small machine without a GPU.",
        download_bytes=517_000_000,
        size=_256M,
    ),
    KnownModel(
        name="smolvlm-500m",
        title="SmolVLM 500M",
        hub_id="HuggingFaceTB/SmolVLM-500M-Instruct",
        revision="main",
        good_for="As 256M with twice the parameters: more often right, and slower.",
        download_bytes=1_019_000_000,
        size=_500M,
    ),
    KnownModel(
        name="smolvlm-2.2b",
        title="SmolVLM 2.2B",
        hub_id="HuggingFaceTB/SmolVLM-Instruct",
        revision="main",
        good_for="Details, counting and written text; it wants a GPU.",
        download_bytes=4_496_000_000,
        size=ModelSize(2_246_272_880, 434_220_912, 100_669_440, 24, 32, 64, 16384),
    ),
    KnownModel(
        name="smolvlm2-256m-video",
        title="SmolVLM2 256M Video",
        hub_id="HuggingFaceTB/SmolVLM2-256M-Video-Instruct",
        revision="main",
        good_for="As SmolVLM 256M, trained on frames of videos as well.",
        download_bytes=1_030_000_000,
        size=_256M,
    ),
    KnownModel(
        name="smolvlm2-500m-video",
        title="SmolVLM2 500M Video",
        hub_id="HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
        revision="main",
        good_for="As SmolVLM 500M, trained on frames of videos as well.",
        download_bytes=2_034_000_000,
        size=_500M,
    ),
    KnownModel(
        name="smolvlm2-2.2b",
        title="SmolVLM2 2.2B",
        hub_id="HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        revision="main",
        good_for="The best of them on video frames; it wants a GPU.",
        download_bytes=8_991_000_000,
        size=ModelSize(2_246_784_880, 434_220_912, 100_925_440, 24, 32, 64, 8192),
    ),
)


def known_model(name: str) -> KnownModel | None:
    """Return the known model of that short name or hub id, in any case, or None."""
    lower = name.lower()
    for model in KNOWN_MODELS:
        if lower in (model.name, (model.hub_id or model.name).lower()):
            return model
    return None


def aliases(model: str) -> tuple[str, ...]:
    """Return all names of a known model, whichever of them `model` is; none for another model."""
    known = known_model(model)
    if known is None:
        return ()
    return (known.name,) if known.hub_id is None else (known.name, known.hub_id)


def display_name(model: str) -> str:
    """Return what to show for the value of `--model`: of a folder its name, never its path."""
    is_path = known_model(model) is None and Path(model).is_dir()
    return Path(model).resolve().name if is_path else model


def complete_folder(model: str, cache_folder: Path | None = None) -> Path | None:
    """Return the folder of `model`, or None if it is not on this machine or not complete.

    `model` is a known name, a hub id or a local folder. `cache_folder` is the hub cache, by default
    the one that all programs share.
    """
    for folder in _folders(model, cache_folder):
        try:
            check_folder(folder)
        except CheckpointError:
            continue
        return folder
    return None


def resolve(model: str, cache_folder: Path | None = None) -> Path:
    """Return the folder of `model`; raise CheckpointError, which says what is missing."""
    folder = complete_folder(model, cache_folder)
    if folder is None:
        for folder in _folders(model, cache_folder):
            check_folder(folder)
        raise CheckpointError(
            f"The model {model} is not on this machine. `python -m vlm.models fetch {model}` "
            "downloads it; `--model nano` needs no download."
        )
    return folder


def _folders(model: str, cache_folder: Path | None) -> Iterator[Path]:
    """Yield the folders that may hold `model`, most likely first."""
    known = known_model(model)
    local = Path(os.path.expanduser(model))
    if known is not None and known.hub_id is None:
        yield BUNDLED_FOLDER
    elif known is not None and known.hub_id is not None:
        yield from CachedRepository.of(known.hub_id, cache_folder).snapshots(known.revision)
    elif local.is_dir() or not HUB_ID.fullmatch(model):
        yield local
    else:
        yield from CachedRepository.of(model, cache_folder).snapshots("main")
