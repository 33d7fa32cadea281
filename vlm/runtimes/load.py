"""Choose the runtime for a model, estimate its memory, and load it."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from vlm.checkpoints.files import ModelSize, model_size
from vlm.errors import SettingsError
from vlm.runtimes.base import Runtime
from vlm.runtimes.memory import Fit, free_host_bytes
from vlm.runtimes.openvino.cache import default_cache_folder, is_converted
from vlm.runtimes.openvino.platform import (
    OpenVinoUnavailableError,
    Precision,
    conversion_bytes,
    openvino_bytes,
    openvino_here,
    precision_here,
)
from vlm.settings import Settings

if TYPE_CHECKING:
    from vlm.runtimes.torch.devices import Placement

log = logging.getLogger("sightline")

_TORCH_DTYPES: Final = ("auto", "float32", "bfloat16", "float16")
# Device files of the drivers of NVIDIA and AMD on Linux, and of either in WSL.
_GPU_FILES: Final = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class OpenVinoPlan:
    """OpenVINO on the CPU. `device` and `dtype` are those of the runtime."""

    precision: Precision

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def dtype(self) -> str:
        return self.precision.name


@dataclass(frozen=True)
class TorchPlan:
    """Torch. `device` and `dtype` are those of the runtime."""

    placement: Placement
    why_not_openvino: str = ""
    """One line if torch is the fallback for an OpenVINO that failed."""
    static: bool = False
    """A static KV cache, which lets requests share passes, on a CPU too."""

    @property
    def device(self) -> str:
        return str(self.placement.device)

    @property
    def dtype(self) -> str:
        return str(self.placement.dtype).removeprefix("torch.")


Plan: TypeAlias = OpenVinoPlan | TorchPlan


def plan(size: ModelSize, settings: Settings) -> Plan:
    """Return the runtime for a model of `size`: "auto" is torch on a GPU, OpenVINO on a CPU.

    Torch is the fallback if OpenVINO cannot be loaded. Torch is imported only if it is to run the
    model, or if there may be a GPU. Raise SettingsError for a format that the runtime lacks, or a
    device that this machine lacks.
    """
    if settings.runtime in ("torch", "torch-static"):
        if settings.dtype not in _TORCH_DTYPES:
            raise SettingsError(
                f"--dtype {settings.dtype} is for OpenVINO. With --runtime {settings.runtime} "
                f"choose {', '.join(_TORCH_DTYPES[:-1])} or {_TORCH_DTYPES[-1]}."
            )
        torch_plan = _torch_plan(size, settings.device, settings.dtype)
        return replace(torch_plan, static=settings.runtime == "torch-static")
    if settings.runtime == "openvino" and settings.device not in ("auto", "cpu"):
        raise SettingsError(
            f"--runtime openvino is for the CPU, and --device is {settings.device}. Leave one of "
            "the two out."
        )
    if settings.runtime == "auto" and _needs_torch(settings):
        return _torch_plan(size, settings.device, settings.dtype)
    try:
        return OpenVinoPlan(precision_here(settings.dtype, size.parameters, settings.int8_vision))
    except OpenVinoUnavailableError as error:
        return _fallback(size, settings, error)


def _fallback(size: ModelSize, settings: Settings, error: OpenVinoUnavailableError) -> TorchPlan:
    """Return the plan to run on the CPU by torch, because of `error`."""
    dtype = settings.dtype if settings.dtype in _TORCH_DTYPES else "auto"
    return _torch_plan(size, "cpu", dtype, str(error))


def _torch_plan(size: ModelSize, device: str, dtype: str, why_not_openvino: str = "") -> TorchPlan:
    # Imported here: torch takes seconds, and a start with OpenVINO does without.
    from vlm.runtimes.torch.devices import place

    return TorchPlan(place(device, dtype, size), why_not_openvino)


def _needs_torch(settings: Settings) -> bool:
    """Return whether there is a GPU to use, or the settings name a format that only torch has."""
    if settings.device != "auto":
        return settings.device != "cpu" or settings.dtype == "float16"
    if settings.dtype == "float16":
        return True
    if not _may_have_gpu():
        return False
    from vlm.runtimes.torch.devices import available_devices

    return available_devices()[0] != "cpu"


def _may_have_gpu() -> bool:
    """Return False if there is certainly no GPU, which saves the seconds of importing torch."""
    build = metadata.version("torch").partition("+")[2]
    if build == "cpu":
        return False
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return (
        not sys.platform.startswith("linux")
        or build == "xpu"
        or any(map(os.path.exists, _GPU_FILES))
    )


def fit(size: ModelSize, settings: Settings, folder: Path | None = None) -> Fit:
    """Return the fit of a model of `size` with `settings`; load nothing. Raise SettingsError.

    `folder` is its checkpoint, if here: a model that OpenVINO has converted before needs less.
    """
    return fit_of(plan(size, settings), size, folder)


def fit_of(chosen: Plan, size: ModelSize, folder: Path | None) -> Fit:
    """Return the fit of a model of `size` with the plan `chosen`; `folder` as for `fit`."""
    if isinstance(chosen, OpenVinoPlan):
        needed_bytes = openvino_bytes(size, chosen.precision)
        if not is_converted_for(folder, chosen.precision):
            needed_bytes = max(needed_bytes, conversion_bytes(size, chosen.precision))
        return Fit(needed_bytes, free_host_bytes(), chosen.device, chosen.dtype)
    # Making the plan has imported torch already.
    from vlm.runtimes.torch import devices

    placement = chosen.placement
    return Fit(
        devices.needed_bytes(size, placement.device, placement.dtype),
        devices.free_bytes_of_all() if placement.spread else devices.free_bytes(placement.device),
        chosen.device,
        chosen.dtype,
    )


def is_converted_for(folder: Path | None, precision: Precision) -> bool:
    """Return whether the cache holds the checkpoint in `folder`, converted for `precision`."""
    return folder is not None and is_converted(
        folder, precision.variant, openvino_here().version, default_cache_folder()
    )


def load_runtime(
    folder: Path,
    settings: Settings,
    on_progress: Callable[[str], None],
    check: Callable[[Plan], None] = lambda _: None,
) -> Runtime[Any]:
    """Load the model in `folder` into the runtime that `settings` name, else the fastest one here.

    `on_progress` receives sentences while the model is converted. `check` is called with the plan
    before any weights are read, and may raise. If OpenVINO cannot run the model, torch does, and
    the reason is logged. Raise SettingsError or CheckpointError.
    """
    size = model_size(folder)
    chosen = plan(size, settings)
    check(chosen)
    if isinstance(chosen, TorchPlan):
        return _load_torch(folder, chosen)
    try:
        return _load_openvino(folder, chosen, on_progress)
    except OpenVinoUnavailableError as error:
        fallback = _fallback(size, settings, error)
        check(fallback)
        return _load_torch(folder, fallback)


def _load_openvino(
    folder: Path, chosen: OpenVinoPlan, on_progress: Callable[[str], None]
) -> Runtime[Any]:
    from vlm.runtimes.openvino.runtime import OpenVinoRuntime

    return OpenVinoRuntime.load(folder, chosen.precision, on_progress)


def _load_torch(folder: Path, chosen: TorchPlan) -> Runtime[Any]:
    # Imported here: torch takes seconds, and a start with OpenVINO does without.
    from vlm.runtimes.torch.eager import TorchRuntime, load_model
    from vlm.runtimes.torch.static import StaticTorchRuntime, suits

    if chosen.why_not_openvino:
        log.warning("Torch takes over in %s: %s", chosen.dtype, chosen.why_not_openvino)
    placement = chosen.placement
    model = load_model(folder, placement.dtype, str(placement.device), spread=placement.spread)
    is_static = chosen.static and not placement.spread
    runtime = StaticTorchRuntime if is_static or suits(placement) else TorchRuntime
    return runtime(model, placement.device)
