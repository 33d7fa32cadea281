"""Which runtime a model is run by: the user's choice, else what is fastest here."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from vlm.checkpoint_files import parameter_count
from vlm.errors import SettingsError
from vlm.runtimes.base import Runtime
from vlm.settings import Settings

log = logging.getLogger("sightline")

_TORCH_DTYPES: Final = ("auto", "float32", "bfloat16", "float16")
# What the drivers of NVIDIA and AMD leave on Linux, and of either in Windows' Linux.
_GPU_FILES: Final = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


def load_runtime(
    folder: Path, settings: Settings, on_progress: Callable[[str], None]
) -> Runtime[Any]:
    """The model in `folder`, loaded by the runtime that `settings` name, or by the best one here.

    "auto" is torch on a GPU and OpenVINO on a CPU. `on_progress` gets a sentence now and then where
    the model is converted first. Where OpenVINO cannot run the model, torch does,
    and the log says why. Raises SettingsError or CheckpointError.
    """
    if settings.runtime == "torch":
        if settings.dtype not in _TORCH_DTYPES:
            raise SettingsError(
                f"--dtype {settings.dtype} is for OpenVINO. With --runtime torch choose "
                f"{', '.join(_TORCH_DTYPES[:-1])} or {_TORCH_DTYPES[-1]}."
            )
        return _load_torch(folder, settings.device, settings.dtype)
    if settings.runtime == "openvino" and settings.device not in ("auto", "cpu"):
        raise SettingsError(
            f"--runtime openvino is for the CPU, and --device is {settings.device}. Leave one of "
            "the two out."
        )
    if settings.runtime == "auto" and _is_for_torch(settings):
        return _load_torch(folder, settings.device, settings.dtype)
    return _load_openvino(folder, settings, on_progress)


def _load_openvino(
    folder: Path, settings: Settings, on_progress: Callable[[str], None]
) -> Runtime[Any]:
    from vlm.runtimes.openvino_runtime import OpenVinoRuntime, OpenVinoUnavailable

    try:
        return OpenVinoRuntime.load(
            folder, settings.dtype, int8_vision=settings.int8_vision, on_progress=on_progress
        )
    except OpenVinoUnavailable as error:
        dtype = settings.dtype if settings.dtype in _TORCH_DTYPES else "auto"
        log.warning("Torch takes over with dtype %s: %s", dtype, error)
        return _load_torch(folder, "cpu", dtype)


def _load_torch(folder: Path, device: str, dtype: str) -> Runtime[Any]:
    # Imported here: torch takes seconds, and a start with OpenVINO does without.
    from vlm.runtimes.devices import place
    from vlm.runtimes.torch_runtime import TorchRuntime
    from vlm.runtimes.torch_static import StaticTorchRuntime, suits

    placement = place(device, dtype, parameter_count(folder))
    runtime = StaticTorchRuntime if suits(placement) else TorchRuntime
    return runtime.load(folder, device, dtype)


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
