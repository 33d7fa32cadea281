"""Which torch device and number format a model runs in: the user's choice, else what is there."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vlm.checkpoint_files import ModelSize
from vlm.errors import SettingsError
from vlm.runtimes.base import LARGE_MODEL_PARAMETERS
from vlm.runtimes.device_memory import free_bytes, needed_bytes

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Placement:
    """Where a model goes; `spread` leaves the laying out over several devices to accelerate."""

    device: torch.device
    dtype: torch.dtype
    spread: bool


def place(device: str, dtype: str, size: ModelSize) -> Placement:
    """The placement for a model of `size`, by the settings `device` and `dtype`.

    "auto" takes the first of CUDA, MPS, XPU and CPU that is there. The automatic dtype is bfloat16
    on CUDA and XPU (float16 on a CUDA card without it), float32 on MPS, and on the CPU bfloat16 for
    a large model where the CPU has instructions for it, else float32.
    Raises SettingsError where the device is not here, naming those that are.
    """
    choices = available_devices()
    named = "cuda:0" if device == "cuda" else device
    if named not in (*choices, "auto"):
        raise SettingsError(
            f"The device {device!r} is not available here. Choose one of: "
            f"{', '.join(['auto', *choices])}."
        )
    chosen = torch.device(choices[0] if named == "auto" else named)
    number_format = _DTYPES[dtype] if dtype != "auto" else _automatic_dtype(chosen, size.parameters)
    spread = (
        device == "auto"
        and chosen.type == "cuda"
        and needed_bytes(size, chosen, number_format) > free_bytes(chosen)
    )
    return Placement(chosen, number_format, spread)


def available_devices() -> list[str]:
    """The names of the devices that are here, the one to prefer first."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    if torch.xpu.is_available():
        devices.append("xpu")
    return [*devices, "cpu"]


def _automatic_dtype(device: torch.device, parameters: int) -> torch.dtype:
    if device.type == "cuda":
        # Ampere is the first with bfloat16 in hardware; AMD's cards of any age here have it.
        has_bfloat16 = torch.version.hip or torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if has_bfloat16 else torch.float16
    if device.type == "xpu":
        return torch.bfloat16
    if device.type == "cpu" and parameters >= LARGE_MODEL_PARAMETERS and _cpu_has_bfloat16():
        return torch.bfloat16
    return torch.float32


def _cpu_has_bfloat16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
