"""What a model would be run by: the user's choice, else what is fastest here. Loads no model."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass, replace
from importlib import metadata
from typing import TYPE_CHECKING, Final, TypeAlias

from vlm.checkpoint_files import ModelSize
from vlm.errors import SettingsError
from vlm.runtimes.openvino_here import OpenVinoUnavailable, precision_here
from vlm.runtimes.openvino_precision import Precision
from vlm.settings import Settings

if TYPE_CHECKING:
    from vlm.runtimes.devices import Placement

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
    from vlm.runtimes.devices import place

    return TorchPlan(place(device, dtype, size), why_not_openvino)


def _is_for_torch(settings: Settings) -> bool:
    """Whether there is a GPU to use, or a format is asked for that torch alone has."""
    if settings.device != "auto":
        return settings.device != "cpu" or settings.dtype == "float16"
    if settings.dtype == "float16":
        return True
    if not _may_have_gpu():
        return False
    from vlm.runtimes.devices import available_devices

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
