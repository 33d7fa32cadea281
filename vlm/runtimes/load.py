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
    OpenVinoUnavailable,
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
# What the drivers of NVIDIA and AMD leave on Linux, and of either in Windows' Linux.
_GPU_FILES: Final = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class OpenVinoPlan:
    """By OpenVINO, on the CPU."""

    precision: Precision

    @property
    def device(self) -> str:
        """As `Runtime.device` will say."""
        return "cpu"

    @property
    def dtype(self) -> str:
        """As `Runtime.dtype` will say."""
        return self.precision.name


@dataclass(frozen=True)
class TorchPlan:
    """By torch. `why_not_openvino` is a line where it stands in for an OpenVINO that failed.

    With `static` its KV cache is, so that requests share passes, on a CPU too.
    """

    placement: Placement
    why_not_openvino: str = ""
    static: bool = False

    @property
    def device(self) -> str:
        """As `Runtime.device` will say."""
        return str(self.placement.device)

    @property
    def dtype(self) -> str:
        """As `Runtime.dtype` will say."""
        return str(self.placement.dtype).removeprefix("torch.")


Plan: TypeAlias = OpenVinoPlan | TorchPlan


def plan(size: ModelSize, settings: Settings) -> Plan:
    """What would run a model of `size`: "auto" is torch on a GPU and OpenVINO on a CPU.

    Where OpenVINO cannot be loaded at all, torch takes its place. Torch is imported only where it
    would run the model, or where there may be a GPU. Raises SettingsError for what a runtime does
    not know, or a device that is not here.
    """
    if settings.runtime in ("torch", "torch-static"):
        if settings.dtype not in _TORCH_DTYPES:
            raise SettingsError(
                f"--dtype {settings.dtype} is for OpenVINO. With --runtime {settings.runtime} "
                f"choose {', '.join(_TORCH_DTYPES[:-1])} or {_TORCH_DTYPES[-1]}."
            )
        by_torch = _by_torch(size, settings.device, settings.dtype)
        return replace(by_torch, static=settings.runtime == "torch-static")
    if settings.runtime == "openvino" and settings.device not in ("auto", "cpu"):
        raise SettingsError(
            f"--runtime openvino is for the CPU, and --device is {settings.device}. Leave one of "
            "the two out."
        )
    if settings.runtime == "auto" and _is_for_torch(settings):
        return _by_torch(size, settings.device, settings.dtype)
    try:
        return OpenVinoPlan(precision_here(settings.dtype, size.parameters, settings.int8_vision))
    except OpenVinoUnavailable as error:
        return plan_instead(size, settings, error)


def plan_instead(size: ModelSize, settings: Settings, error: OpenVinoUnavailable) -> TorchPlan:
    """How torch runs on the CPU what OpenVINO cannot, for the reason that `error` tells."""
    dtype = settings.dtype if settings.dtype in _TORCH_DTYPES else "auto"
    return _by_torch(size, "cpu", dtype, str(error))


def _by_torch(size: ModelSize, device: str, dtype: str, why_not_openvino: str = "") -> TorchPlan:
    # Imported here: torch takes seconds, and a start with OpenVINO does without.
    from vlm.runtimes.torch.devices import place

    return TorchPlan(place(device, dtype, size), why_not_openvino)


def _is_for_torch(settings: Settings) -> bool:
    """Whether there is a GPU to use, or a format is asked for that torch alone has."""
    if settings.device != "auto":
        return settings.device != "cpu" or settings.dtype == "float16"
    if settings.dtype == "float16":
        return True
    if not _may_have_gpu():
        return False
    from vlm.runtimes.torch.devices import available_devices

    return available_devices()[0] != "cpu"


def _may_have_gpu() -> bool:
    """Whether asking torch for a GPU is worth the seconds that importing it takes."""
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
    """How a model of `size` would fit, run as `settings` would have it; nothing is loaded.

    `folder` is its checkpoint where it is here: a model that OpenVINO has converted before needs
    less than one that it has not. Raises SettingsError, as loading it would.
    """
    return fit_of(plan(size, settings), size, folder)


def fit_of(chosen: Plan, size: ModelSize, folder: Path | None) -> Fit:
    """Return the fit of a model of `size`, run as `chosen`; `folder` is its checkpoint, if here."""
    if isinstance(chosen, OpenVinoPlan):
        needed_bytes = openvino_bytes(size, chosen.precision)
        if not is_converted_for(folder, chosen.precision):
            needed_bytes = max(needed_bytes, conversion_bytes(size, chosen.precision))
        return Fit(needed_bytes, free_host_bytes(), chosen.device, chosen.dtype)
    # Torch is imported by now: the plan has asked it for its devices.
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

    `on_progress` gets a sentence now and then while the model is converted first. `check` is called
    with the plan before any weights are read, and raises to refuse it. If OpenVINO cannot run the
    model, torch does, and the log says why. Raises SettingsError or CheckpointError.
    """
    size = model_size(folder)
    chosen = plan(size, settings)
    check(chosen)
    if isinstance(chosen, TorchPlan):
        return _load_torch(folder, chosen)
    try:
        return _load_openvino(folder, chosen, on_progress)
    except OpenVinoUnavailable as error:
        instead = plan_instead(size, settings, error)
        check(instead)
        return _load_torch(folder, instead)


def _load_openvino(
    folder: Path, chosen: OpenVinoPlan, on_progress: Callable[[str], None]
) -> Runtime[Any]:
    from vlm.runtimes.openvino.runtime import OpenVinoRuntime

    return OpenVinoRuntime.load(folder, chosen.precision, on_progress)


def _load_torch(folder: Path, chosen: TorchPlan) -> Runtime[Any]:
    # Imported here: torch takes seconds, and a start with OpenVINO does without.
    from vlm.runtimes.torch.eager import TorchRuntime
    from vlm.runtimes.torch.loading import load_model
    from vlm.runtimes.torch.static import StaticTorchRuntime, suits

    if chosen.why_not_openvino:
        log.warning("Torch takes over in %s: %s", chosen.dtype, chosen.why_not_openvino)
    placement = chosen.placement
    model = load_model(folder, placement.dtype, str(placement.device), spread=placement.spread)
    is_static = chosen.static and not placement.spread
    runtime = StaticTorchRuntime if is_static or suits(placement) else TorchRuntime
    return runtime(model, placement.device)
