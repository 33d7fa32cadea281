"""Load the engine that the settings name, after a check that the model fits the memory."""

from __future__ import annotations

import gc
import logging
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
from vlm.engine.watched import LOAD_TICKS, DeviceThread, WatchedEngine
from vlm.errors import CheckpointError, DeviceFailedError, ModelTooLargeError, SettingsError
from vlm.processing.tokenizer import stop_ids
from vlm.runtimes.accelerator import CHECK
from vlm.runtimes.device_words import memory_taken
from vlm.runtimes.load import (
    OpenVinoPlan,
    Plan,
    TorchPlan,
    fit,
    fit_of,
    is_converted_for,
    load_runtime,
)
from vlm.runtimes.memory import free_host_bytes, torch_cpu_bytes
from vlm.scheduler.protocol import PullEngine
from vlm.settings import Settings

log = logging.getLogger("sightline")

_GB: Final = 1e9
_BFLOAT16_BYTES: Final = 2


def load_engine(
    settings: Settings,
    on_progress: Callable[[str], None] = lambda _: None,
    stop_token_ids: frozenset[int] | None = None,
) -> Engine:
    """Load the engine that `settings` name, and warm it up so that its first answer is not slower.

    `on_progress` receives sentences for users if loading takes long. With the device "auto" a model
    that an accelerator cannot load is loaded on the CPU; `info.why_cpu` has the reason. An answer
    ends with one of `stop_token_ids`, by default the checkpoint's own. Raise CheckpointError,
    SettingsError, ModelTooLargeError, or DeviceFailedError if a driver does not answer.
    """
    return _Loading(settings, on_progress, stop_token_ids).engine()


def load_watched_engine(settings: Settings, on_progress: Callable[[str], None]) -> PullEngine:
    """Load as `load_engine` does; the steps of an engine on an accelerator end, or fail."""
    loading = _Loading(settings, on_progress, None)
    engine = loading.engine()
    return WatchedEngine(engine) if loading.is_on_card() else engine


class _AcceleratorError(Exception):
    """A model could not be loaded on an accelerator, because of `reason`."""

    def __init__(self, device: str, reason: Exception) -> None:
        super().__init__(str(reason))
        self.device = device
        self.reason = reason


class _Loading:
    """The load of one engine; the arguments are those of `load_engine`."""

    def __init__(
        self,
        settings: Settings,
        on_progress: Callable[[str], None],
        stop_token_ids: frozenset[int] | None,
    ) -> None:
        self._settings = settings
        self._on_progress = on_progress
        self._stop_token_ids = stop_token_ids
        self._folder = resolve(settings.model)
        self._plan: Plan | None = None

    def is_on_card(self) -> bool:
        """Return whether one accelerator runs all of the model: no pass of it takes minutes."""
        return isinstance(self._plan, TorchPlan) and not (
            self._plan.device == "cpu" or self._plan.placement.spread
        )

    def engine(self) -> Engine:
        """Return the engine; called once."""
        try:
            return self._load_in_time()
        except _AcceleratorError as failed:
            if self._settings.device != "auto":
                raise failed.reason from failed.reason.__cause__
            why_cpu = _why_cpu(failed)
        # What the accelerator still holds.
        gc.collect()
        engine = self._load(replace(self._settings, device="cpu"))
        engine.info = replace(engine.info, why_cpu=why_cpu)
        return engine

    def _load_in_time(self) -> Engine:
        """Return the engine, or raise _AcceleratorError if a driver hangs."""
        settings = self._settings
        if settings.device == "auto" and settings.runtime != "openvino":
            may_hang = CHECK.result(self._on_progress).device is not None
        else:
            may_hang = settings.device not in ("auto", "cpu")
        if not may_hang:
            return self._load(settings)
        thread = DeviceThread()
        try:
            return thread.call(lambda: self._load(settings), LOAD_TICKS, self.is_on_card)
        except DeviceFailedError as error:
            raise _AcceleratorError(settings.device, error) from None
        finally:
            thread.close()

    def _load(self, settings: Settings) -> Engine:
        size = model_size(self._folder)
        inputs = InputBuilder.load(self._folder)
        stops = self._stop_token_ids
        if stops is None:
            stops = stop_ids(self._folder, inputs.tokenizer)
        self._plan = None

        def check(plan: Plan) -> None:
            self._plan = plan
            require_fit(plan, size, settings, self._folder)

        try:
            runtime = load_runtime(self._folder, settings, self._on_progress, check)
            engine = Engine(
                runtime, inputs, stops, display_name(settings.model), is_exact=settings.exact
            )
            engine.warm_up()
        except Exception as error:
            # The checkpoint would fail on the CPU too.
            is_of_model = isinstance(error, CheckpointError | SettingsError)
            if self._plan is None or self._plan.device == "cpu" or is_of_model:
                raise
            raise _AcceleratorError(self._plan.device, error) from None
        assert self._plan is not None, "a runtime is loaded by a plan"
        names = aliases(engine.info.model)
        engine.info = replace(engine.info, aliases=names, why_cpu=self._plan.why_cpu)
        return engine


def _why_cpu(failed: _AcceleratorError) -> str:
    """Return why a model is loaded on the CPU after it `failed` on an accelerator."""
    if isinstance(failed.reason, ModelTooLargeError):
        return f"This model is too large for {failed.device}, so the CPU captions."
    if isinstance(failed.reason, MemoryError):
        return memory_taken(failed.device)
    log.info("The model could not be loaded on %s", failed.device, exc_info=failed.reason)
    # Other models would fail there too.
    return CHECK.mark_failed(str(failed.reason) or type(failed.reason).__name__)


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
            yield "a smaller format (--dtype int8)"
        # Torch needs no conversion, and its weights are memory-mapped.
        if torch_cpu_bytes(size, _BFLOAT16_BYTES) <= free_host_bytes():
            yield "torch, which is slower (--runtime torch --dtype bfloat16)"
    yield "or close other programs."
