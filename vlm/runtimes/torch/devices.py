"""The torch device and number format of a model: the user's setting, else the best here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch

from vlm.checkpoints.files import ModelSize
from vlm.errors import DeviceFailedError, SettingsError, first_line
from vlm.runtimes.base import LARGE_MODEL_PARAMETERS, MAX_CACHED_BYTES
from vlm.runtimes.device_words import is_device_failure
from vlm.runtimes.memory import free_host_bytes, kv_bytes, torch_cpu_bytes
from vlm.runtimes.torch.probe import available_devices
from vlm.runtimes.torch.slots import BLOCK_TOKENS, SLOTS

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Placement:
    """Device and number format of a model."""

    device: torch.device
    dtype: torch.dtype
    spread: bool
    """accelerate splits the model over several devices."""


def place(device: str, dtype: str, size: ModelSize) -> Placement:
    """Return the placement for a model of `size`, by the settings `device` and `dtype`.

    The device "auto" is the first available of CUDA, MPS, XPU and CPU. The dtype "auto" is bfloat16
    on CUDA and XPU (float16 on a CUDA card without it), float32 on MPS, and on the CPU bfloat16 for
    a large model if the CPU has instructions for it, else float32.
    Raise SettingsError, with the available devices, if `device` is not among them.
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


# Typical captions have one tile, and at most twice the smallest length of a slot.
_TYPICAL_TOKENS: Final = SLOTS * 2 * BLOCK_TOKENS
# Activations of a frame's tiles, workspaces of kernels, CUDA graphs; not measured on a GPU yet.
_GPU_OVERHEAD_BYTES: Final = 400 * 10**6


def needed_bytes(size: ModelSize, device: torch.device, dtype: torch.dtype) -> int:
    """Return the memory that a model of `size` needs on `device`.

    GPU: typical captions; a longer one raises MemoryError, and the model goes on. CPU: the longest
    request, because the OOM killer would end the process.
    """
    if device.type == "cpu":
        return torch_cpu_bytes(size, dtype.itemsize)
    weights = size.parameters * dtype.itemsize
    kv_cache = kv_bytes(size, dtype.itemsize, _TYPICAL_TOKENS)
    return weights + kv_cache + MAX_CACHED_BYTES + _GPU_OVERHEAD_BYTES


def free_bytes(device: torch.device) -> int:
    """Return the free memory of `device`, as its driver reports it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "xpu":
        try:
            return int(torch.xpu.mem_get_info(device)[0])
        except RuntimeError:
            # Some drivers do not report the use of other processes.
            total_bytes = torch.xpu.get_device_properties(device).total_memory
            return int(total_bytes - torch.xpu.memory_reserved(device))
    if device.type == "mps":
        # Unified memory; Metal recommends a limit below its total.
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(free, free_host_bytes())
    return free_host_bytes()


def free_bytes_of_all() -> int:
    """Return the free memory of all CUDA devices and of the host together."""
    gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return sum(map(free_bytes, gpus)) + free_host_bytes()


def is_taken(device: torch.device, needed: int) -> bool:
    """Return whether `needed` bytes would fit `device` but for the memory of other programs."""
    if device.type == "cuda":
        gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
        total = int(torch.cuda.mem_get_info(device)[1])
        # What this process holds is freed when it changes the model; a model can be spread.
        usable = sum(free_bytes(gpu) + torch.cuda.memory_reserved(gpu) for gpu in gpus)
    elif device.type == "xpu":
        total = int(torch.xpu.get_device_properties(device).total_memory)
        usable = free_bytes(device) + torch.xpu.memory_reserved(device)
    else:
        return False
    return usable < needed <= total


_OUT_OF_MEMORY_WORDS: Final = ("out of memory", "allocate memory", "not enough memory")


@contextmanager
def device_errors() -> Iterator[None]:
    """Raise any device's out-of-memory error as MemoryError, after CUDA's cache is emptied.

    Raise the error of a device that is lost as DeviceFailedError.
    """
    try:
        yield
    except RuntimeError as error:
        out_of_memory = isinstance(error, torch.OutOfMemoryError) or any(
            words in str(error).lower() for words in _OUT_OF_MEMORY_WORDS
        )
        if not out_of_memory:
            if is_device_failure(str(error)):
                raise DeviceFailedError(str(error)) from error
            raise
        # Without "from": the traceback would keep the tensors that filled the device.
        message = first_line(error)
    else:
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise MemoryError(message)
