"""Loads a model into the runtime that the user chose, else into what is fastest here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vlm.checkpoint_files import model_size
from vlm.runtimes.base import Runtime
from vlm.runtimes.fit import require_fit
from vlm.runtimes.openvino_here import OpenVinoUnavailable
from vlm.runtimes.plan import OpenVinoPlan, TorchPlan, plan, plan_instead
from vlm.settings import Settings

log = logging.getLogger("sightline")


def load_runtime(
    folder: Path, settings: Settings, on_progress: Callable[[str], None]
) -> Runtime[Any]:
    """The model in `folder`, loaded by the runtime that `settings` name, or by the best one here.

    `on_progress` gets a sentence now and then where the model is converted first. Where OpenVINO
    cannot run the model, torch does, and the log says why. Raises SettingsError or CheckpointError,
    and ModelTooLargeError before any of the weights are read.
    """
    size = model_size(folder)
    chosen = plan(size, settings)
    require_fit(chosen, size, settings, folder)
    if isinstance(chosen, TorchPlan):
        return _load_torch(folder, chosen)
    try:
        return _load_openvino(folder, chosen, on_progress)
    except OpenVinoUnavailable as error:
        instead = plan_instead(size, settings, error)
        require_fit(instead, size, settings, folder)
        return _load_torch(folder, instead)


def _load_openvino(
    folder: Path, chosen: OpenVinoPlan, on_progress: Callable[[str], None]
) -> Runtime[Any]:
    from vlm.runtimes.openvino_runtime import OpenVinoRuntime

    return OpenVinoRuntime.load(folder, chosen.precision, on_progress)


def _load_torch(folder: Path, chosen: TorchPlan) -> Runtime[Any]:
    # Imported here: torch takes seconds, and a start with OpenVINO does without.
    from vlm.checkpoint_loading import load_model
    from vlm.runtimes.torch_runtime import TorchRuntime
    from vlm.runtimes.torch_static import StaticTorchRuntime, suits

    if chosen.why_not_openvino:
        log.warning("Torch takes over in %s: %s", chosen.dtype, chosen.why_not_openvino)
    placement = chosen.placement
    model = load_model(folder, placement.dtype, str(placement.device), spread=placement.spread)
    is_static = chosen.static and not placement.spread
    runtime = StaticTorchRuntime if is_static or suits(placement) else TorchRuntime
    return runtime(model, placement.device)
