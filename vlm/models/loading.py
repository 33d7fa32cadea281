"""Load the engine that the settings name, after a check that the model fits the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from vlm.checkpoints.catalogue import (
    BUNDLED_FOLDER,
    BUNDLED_MODEL,
    KNOWN_MODELS,
    aliases,
    complete_folder,
    display_name,
    resolve,
)
from vlm.checkpoints.files import ModelSize, model_size
from vlm.engine.engine import Engine
from vlm.engine.inputs import InputBuilder
from vlm.errors import ModelTooLargeError
from vlm.processing.tokenizer import stop_ids
from vlm.runtimes.load import OpenVinoPlan, Plan, fit, fit_of, is_converted_for, load_runtime
from vlm.runtimes.memory import free_host_bytes, torch_cpu_bytes
from vlm.settings import Settings

_GB: Final = 1e9
_BFLOAT16_BYTES: Final = 2


def load_engine(
    settings: Settings,
    on_progress: Callable[[str], None] = lambda _: None,
    stop_token_ids: frozenset[int] | None = None,
) -> Engine:
    """Load the engine that `settings` name, and warm it up so that its first answer is not slower.

    `on_progress` receives sentences for users if loading takes long. An answer ends with one of
    `stop_token_ids`, by default the checkpoint's own. Raise CheckpointError, SettingsError or
    ModelTooLargeError.
    """
    folder = resolve(settings.model)
    size = model_size(folder)
    inputs = InputBuilder.load(folder)
    runtime = load_runtime(
        folder, settings, on_progress, lambda plan: require_fit(plan, size, settings, folder)
    )
    stops = stop_ids(folder, inputs.tokenizer) if stop_token_ids is None else stop_token_ids
    engine = Engine(runtime, inputs, stops, display_name(settings.model))
    engine.info = replace(engine.info, aliases=aliases(engine.info.model))
    engine.warm_up()
    return engine


def require_fit(chosen: Plan, size: ModelSize, settings: Settings, folder: Path) -> None:
    """Raise ModelTooLargeError if the model in `folder` does not fit with the plan `chosen`."""
    # The bundled model is the last fallback: an estimate must not forbid it.
    if folder.resolve() == BUNDLED_FOLDER.resolve():
        return
    # accelerate decides the split over GPUs, memory and disk.
    if not isinstance(chosen, OpenVinoPlan) and chosen.placement.spread:
        return
    found = fit_of(chosen, size, folder)
    if found.fits:
        return
    name = folder.name if Path(settings.model).is_dir() else settings.model
    where = "in memory" if found.device == "cpu" else f"on {found.device}"
    raise ModelTooLargeError(
        f"{name} needs about {found.needed_bytes / _GB:.1f} GB in {found.dtype}, "
        f"{_included(chosen, folder)}, and {found.free_bytes / _GB:.1f} GB are free {where}. "
        f"{', '.join(_remedies(chosen, size, settings, folder))}"
    )


def _included(chosen: Plan, folder: Path) -> str:
    """Return what the estimate includes besides the weights, as part of a sentence."""
    if isinstance(chosen, OpenVinoPlan) and not is_converted_for(folder, chosen.precision):
        return "its KV cache and its conversion for OpenVINO included"
    return "its KV cache included"


def _remedies(chosen: Plan, size: ModelSize, settings: Settings, folder: Path) -> Iterator[str]:
    """Yield what a user can do, as parts of a sentence; models and formats in it would fit."""
    smaller = [
        model
        for model in KNOWN_MODELS
        if model.size.parameters < size.parameters
        and fit(model.size, settings, complete_folder(model.name)).fits
    ]
    name = max(smaller, key=lambda model: model.size.parameters).name if smaller else BUNDLED_MODEL
    yield f"Choose a smaller model (--model {name})"
    if isinstance(chosen, OpenVinoPlan):
        if fit(size, replace(settings, dtype="int8"), folder).fits:
            yield "the format that takes least (--dtype int8)"
        # Torch needs no conversion, and its weights are memory-mapped.
        if torch_cpu_bytes(size, _BFLOAT16_BYTES) <= free_host_bytes():
            yield "torch, which is slower (--runtime torch --dtype bfloat16)"
    yield "or close other programs."
