"""The known models, and where a model lies on this machine; the network is never used here."""

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
    """A model that can be named by a short name.

    `hub_id` is None for the bundled one. `revision` is a commit where one is known, else a branch.
    `download_bytes` is about what fetching it takes; the hub says it exactly. `good_for` is a short
    sentence for people.
    """

    name: str
    title: str
    hub_id: str | None
    revision: str
    good_for: str
    download_bytes: int
    size: ModelSize


# The parameters are those of transformers' models of the published configurations, counted on the
# meta device; of SmolVLM-256M the weights themselves were counted too. Downloads are twice as many
# bytes (bfloat16), and four times as many for SmolVLM2 (float32), with 4 MB of tokenizer.
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
    """The known model of that short name or hub id, in whatever case; None where there is none."""
    asked = name.lower()
    for model in KNOWN_MODELS:
        if asked in (model.name, (model.hub_id or model.name).lower()):
            return model
    return None


def display_name(model: str) -> str:
    """What people are told for what `--model` names: of a folder its own name, never the path."""
    is_path = known_model(model) is None and Path(model).is_dir()
    return Path(model).resolve().name if is_path else model


def complete_folder(model: str, cache_folder: Path | None = None) -> Path | None:
    """The folder of `model`, checked, or None where it is not here or not whole.

    `model` is a known name, a hub id or a local folder. The network is never asked; `cache_folder`
    is the hub cache, by default the one that all programs share.
    """
    for folder in _folders(model, cache_folder):
        try:
            check_folder(folder)
        except CheckpointError:
            continue
        return folder
    return None


def resolve(model: str, cache_folder: Path | None = None) -> Path:
    """As `complete_folder`, but raises CheckpointError, which says what is missing."""
    folder = complete_folder(model, cache_folder)
    if folder is None:
        for folder in _folders(model, cache_folder):
            check_folder(folder)
        raise CheckpointError(
            f"The model {model} is not on this machine. `python -m vlm.models fetch {model}` "
            "fetches it; `--model nano` needs no download."
        )
    return folder


def _folders(model: str, cache_folder: Path | None) -> Iterator[Path]:
    """Where `model` may lie, likeliest first."""
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
