"""Models of transformers beside the one that captions: how to find one, and download it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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
from vlm.errors import CheckpointError, OfflineError

if TYPE_CHECKING:
    from vlm.checkpoints.hub import FetchProgress

_log: Final = logging.getLogger("sightline")


@dataclass(frozen=True)
class HubModel:
    """A small model that is downloaded: a detector or a dual encoder."""

    part: str
    """What it is, such as "detector"."""
    option: str
    """The name of its option, without dashes."""
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
            advice=f"Weights are read from safetensors files only. Choose another --{self.option}.",
        )


def complete_folder(model: HubModel, cache_folder: Path | None = None) -> Path | None:
    """Return the folder of `model`, or None if it is not on this machine or not complete.

    `cache_folder` is the hub cache, by default the one that all programs share.
    """
    for folder in CachedRepository.of(model.hub_id, cache_folder).snapshots(model.revision):
        try:
            _check_folder(model, folder)
        except CheckpointError:
            continue
        return folder
    return None


def folder_of(
    model: HubModel,
    *,
    offline: bool = False,
    on_progress: Callable[[FetchProgress], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Return the folder of `model`, downloaded before if it is not on this machine.

    `on_progress` and `is_cancelled` are as in `vlm.checkpoints.hub.fetch`. Raise OfflineError if
    `offline` forbids the download, FetchError or CheckpointError.
    """
    folder = complete_folder(model)
    if folder is not None:
        return folder
    if offline:
        raise OfflineError(
            f"The {model.part} {model.title} is not on this machine, and --offline forbids to "
            "download it."
        )
    from vlm.checkpoints.hub import fetch

    _log.info(
        "Downloading the %s %s, about %.1f GB.",
        model.part,
        model.title,
        model.download_bytes / 1e9,
    )
    return fetch(model.hub_id, model.revision, on_progress, is_cancelled, kind=model.kind)


def _check_architecture(model: HubModel, config: dict[str, Any], source: str) -> None:
    if model.model_class not in (config.get("architectures") or ()):
        raise CheckpointError(f"{source} is not of {model.title}. Choose another --{model.option}.")


def _check_folder(model: HubModel, folder: Path) -> None:
    config = read_json(folder / CONFIG_FILE)
    _check_architecture(model, config, str(folder / CONFIG_FILE))
    read_json(folder / TOKENIZER_CONFIG_FILE)
    needed = (
        (OLDER_PROCESSOR_FILE, PROCESSOR_FILE),
        *((name, TOKENIZER_FILE) for name in model.vocabulary_files),
    )
    for names in needed:
        if not any((folder / name).is_file() for name in names):
            raise CheckpointError(f"{folder} is incomplete: {' or '.join(names)} is missing.")
    check_weights(folder, config)
