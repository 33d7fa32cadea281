"""How much memory a model needs on one of torch's devices, and how much is free there."""

from __future__ import annotations

from typing import Final

import torch

from vlm.checkpoint_files import ModelSize
from vlm.frame_cache import MAX_CACHED_BYTES
from vlm.runtimes.free_memory import free_host_bytes
from vlm.runtimes.needed_memory import kv_bytes, torch_cpu_bytes
from vlm.runtimes.torch_static_slots import BLOCK_TOKENS, SLOTS

# Everyday's captions are of one tile, and no longer than twice the least room for a sequence.
_EVERYDAY_TOKENS: Final = SLOTS * 2 * BLOCK_TOKENS
# Activations of a frame's tiles, kernels' workspaces, CUDA graphs; not measured on a GPU yet.
_GPU_ROOM_BYTES: Final = 400 * 10**6


def needed_bytes(size: ModelSize, device: torch.device, dtype: torch.dtype) -> int:
    """What a model of `size` needs on `device` to caption.

    On a GPU that is everyday's captions: where a longer request finds no room there, it is refused
    and the model goes on. A CPU's memory must hold the longest, as systems end who takes too much.
    """
    if device.type == "cpu":
        return torch_cpu_bytes(size, dtype.itemsize)
    weights = size.parameters * dtype.itemsize
    everyday = kv_bytes(size, dtype.itemsize, _EVERYDAY_TOKENS)
    return weights + everyday + MAX_CACHED_BYTES + _GPU_ROOM_BYTES


def free_bytes(device: torch.device) -> int:
    """What is free on `device`, as far as torch and its driver tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "xpu":
        try:
            return int(torch.xpu.mem_get_info(device)[0])
        except RuntimeError:
            # Some drivers do not tell what others use.
            total_bytes = torch.xpu.get_device_properties(device).total_memory
            return int(total_bytes - torch.xpu.memory_reserved(device))
    if device.type == "mps":
        # Its memory is the machine's, of which Metal leaves some to others.
        room = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(room, free_host_bytes())
    return free_host_bytes()


def free_bytes_of_all() -> int:
    """What is free on all CUDA devices and in the machine's memory together."""
    gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return sum(map(free_bytes, gpus)) + free_host_bytes()
