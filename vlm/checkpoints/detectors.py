"""The known detectors of things in frames, and how to find one on this machine; no network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from vlm.checkpoints.files import (
    CONFIG_FILE,
    OLDER_PROCESSOR_FILE,
    PROCESSOR_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    CheckpointKind,
    check_weights,
    read_json,
)
from vlm.checkpoints.hub_cache import CachedRepository
from vlm.errors import CheckpointError

BUNDLED_DETECTOR: Final = "nanodet"
NO_DETECTOR: Final = "none"


@dataclass(frozen=True)
class HubDetector:
    """A detector that is downloaded: a model of transformers that finds what a text names."""

    name: str
    title: str
    hub_id: str
    revision: str
    """A commit or a branch."""
    model_class: str
    """In transformers."""
    vocabulary_files: tuple[str, ...]
    """Of its tokenizer, if there is no TOKENIZER_FILE."""
    licence: str
    """Of the weights, by the model card on the hub."""
    download_bytes: int
    """Approximate; the hub gives the exact size."""

    @property
    def kind(self) -> CheckpointKind:
        """The rule for its folder."""
        return CheckpointKind(
            other_files=(
                OLDER_PROCESSOR_FILE,
                PROCESSOR_FILE,
                TOKENIZER_FILE,
                TOKENIZER_CONFIG_FILE,
                *self.vocabulary_files,
                "added_tokens.json",
                "special_tokens_map.json",
            ),
            check_architecture=partial(_check_architecture, self),
            check_folder=partial(_check_folder, self),
            advice="Weights are read from safetensors files only. Choose another --detector.",
        )


# A download has 4 bytes per parameter.
HUB_DETECTORS: Final = (
    HubDetector(
        name="owlv2-base",
        title="OWLv2 base",
        hub_id="google/owlv2-base-patch16-ensemble",
        revision="main",
        model_class="Owlv2ForObjectDetection",
        vocabulary_files=("vocab.json", "merges.txt"),
        licence="Apache-2.0",
        download_bytes=622_000_000,
    ),
    HubDetector(
        name="grounding-dino-tiny",
        title="Grounding DINO tiny",
        hub_id="IDEA-Research/grounding-dino-tiny",
        revision="main",
        model_class="GroundingDinoForObjectDetection",
        vocabulary_files=("vocab.txt",),
        licence="Apache-2.0",
        download_bytes=690_000_000,
    ),
)
DETECTOR_NAMES: Final = (BUNDLED_DETECTOR, *(detector.name for detector in HUB_DETECTORS))


def known_detector(name: str) -> HubDetector | None:
    """Return the detector `name` if it is one that is downloaded."""
    return next((detector for detector in HUB_DETECTORS if detector.name == name), None)


def complete_folder(detector: HubDetector, cache_folder: Path | None = None) -> Path | None:
    """Return the folder of `detector`, or None if it is not on this machine or not complete.

    `cache_folder` is the hub cache, by default the one that all programs share.
    """
    for folder in CachedRepository.of(detector.hub_id, cache_folder).snapshots(detector.revision):
        try:
            _check_folder(detector, folder)
        except CheckpointError:
            continue
        return folder
    return None


def _check_architecture(detector: HubDetector, config: dict[str, Any], source: str) -> None:
    if detector.model_class not in (config.get("architectures") or ()):
        raise CheckpointError(
            f"{source} is not of {detector.title}. Choose another --detector, or {NO_DETECTOR}."
        )


def _check_folder(detector: HubDetector, folder: Path) -> None:
    config = read_json(folder / CONFIG_FILE)
    _check_architecture(detector, config, str(folder / CONFIG_FILE))
    read_json(folder / TOKENIZER_CONFIG_FILE)
    needed = (
        (OLDER_PROCESSOR_FILE, PROCESSOR_FILE),
        *((name, TOKENIZER_FILE) for name in detector.vocabulary_files),
    )
    for names in needed:
        if not any((folder / name).is_file() for name in names):
            raise CheckpointError(f"{folder} is incomplete: {' or '.join(names)} is missing.")
    check_weights(folder, config)
