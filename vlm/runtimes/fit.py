"""Whether a model finds the memory that it needs here, told before any of its weights are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vlm.checkpoint_files import ModelSize
from vlm.checkpoints import BUNDLED_FOLDER, BUNDLED_MODEL, KNOWN_MODELS, complete_folder
from vlm.errors import ModelTooLargeError
from vlm.runtimes.free_memory import free_host_bytes
from vlm.runtimes.needed_memory import conversion_bytes, openvino_bytes, torch_cpu_bytes
from vlm.runtimes.openvino_cache import default_cache_folder, is_converted
from vlm.runtimes.openvino_here import openvino_here
from vlm.runtimes.openvino_precision import Precision
from vlm.runtimes.plan import OpenVinoPlan, Plan, plan
from vlm.settings import Settings

_GB: Final = 1e9
_BFLOAT16_BYTES: Final = 2


@dataclass(frozen=True)
class Fit:
    """What a model needs at its peak, in `dtype` on `device`, against what is free there now."""

    needed_bytes: int
    free_bytes: int
    device: str
    dtype: str

    @property
    def fits(self) -> bool:
        """Whether there is room, as far as can be told."""
        return self.needed_bytes <= self.free_bytes


def fit(size: ModelSize, settings: Settings, folder: Path | None = None) -> Fit:
    """How a model of `size` would fit, run as `settings` would have it; nothing is loaded.

    `folder` is its checkpoint where it is here: a model that OpenVINO has converted before needs
    less than one that it has not. Raises SettingsError, as loading it would.
    """
    return _fit(plan(size, settings), size, folder)


def require_fit(chosen: Plan, size: ModelSize, settings: Settings, folder: Path) -> None:
    """Raises ModelTooLargeError where the model in `folder` does not fit, run as `chosen`."""
    # The bundled model is what is left when nothing else fits: an estimate must not forbid it.
    if folder.resolve() == BUNDLED_FOLDER.resolve():
        return
    # Laid over GPUs, memory and disk: how much of which is accelerate's to find out.
    if not isinstance(chosen, OpenVinoPlan) and chosen.placement.spread:
        return
    found = _fit(chosen, size, folder)
    if found.fits:
        return
    name = folder.name if Path(settings.model).is_dir() else settings.model
    where = "in memory" if found.device == "cpu" else f"on {found.device}"
    raise ModelTooLargeError(
        f"{name} needs about {found.needed_bytes / _GB:.1f} GB in {found.dtype}, "
        f"{_counted(chosen, folder)}, and {found.free_bytes / _GB:.1f} GB are free {where}. "
        f"{', '.join(_remedies(chosen, size, settings, folder))}"
    )


def _fit(chosen: Plan, size: ModelSize, folder: Path | None) -> Fit:
    if isinstance(chosen, OpenVinoPlan):
        needed_bytes = openvino_bytes(size, chosen.precision)
        if not _is_converted(folder, chosen.precision):
            needed_bytes = max(needed_bytes, conversion_bytes(size, chosen.precision))
        return Fit(needed_bytes, free_host_bytes(), chosen.device, chosen.dtype)
    # Torch is imported by now: the plan has asked it for its devices.
    from vlm.runtimes import device_memory

    placement = chosen.placement
    return Fit(
        device_memory.needed_bytes(size, placement.device, placement.dtype),
        device_memory.free_bytes_of_all()
        if placement.spread
        else device_memory.free_bytes(placement.device),
        chosen.device,
        chosen.dtype,
    )


def _is_converted(folder: Path | None, precision: Precision) -> bool:
    return folder is not None and is_converted(
        folder, precision.variant, openvino_here().version, default_cache_folder()
    )


def _counted(chosen: Plan, folder: Path) -> str:
    """What counts into the need besides the weights, in words."""
    if isinstance(chosen, OpenVinoPlan) and not _is_converted(folder, chosen.precision):
        return "its KV cache and its conversion for OpenVINO included"
    return "its KV cache included"


def _remedies(chosen: Plan, size: ModelSize, settings: Settings, folder: Path) -> Iterator[str]:
    """What a person can do, in words; what is named of models and formats would fit."""
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
        # It converts nothing, and reads its weights from where the file is mapped.
        if torch_cpu_bytes(size, _BFLOAT16_BYTES) <= free_host_bytes():
            yield "torch, which is slower (--runtime torch --dtype bfloat16)"
    yield "or close other programs."
