"""The machine that figures were measured on, and the limit that its memory sets."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np

from vlm.checkpoints.files import tensor_shapes

_PACKAGES: Final = ("openvino", "torch", "transformers", "numpy", "pillow")
# Much larger than any processor's cache.
_COPIED_BYTES: Final = 512 * 2**20
_PASSES: Final = 5
_BYTES_PER_NUMBER: Final = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1, "int4": 0.5}


def describe_machine() -> dict[str, object]:
    """Return processor, physical cores, operating system and versions of the relevant packages."""
    return {
        "cpu": cpu_name(),
        "cores": physical_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {package: _version(package) for package in _PACKAGES},
    }


def cpu_name() -> str:
    """Return the processor's model name."""
    if named := _cpuinfo("model name"):
        return named[0]
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()


@cache
def physical_cores() -> int:
    """Return the number of cores that this process may use; two threads of a core count once."""
    logical = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        logical = len(os.sched_getaffinity(0))
    pairs = set(zip(_cpuinfo("physical id"), _cpuinfo("core id"), strict=False))
    return min(logical, len(pairs) or logical)


def memory_bandwidth() -> float:
    """Return the best rate, in bytes a second, at which all cores read uncached memory."""
    cores = physical_cores()
    parts = np.array_split(np.ones(_COPIED_BYTES // 4, dtype=np.float32), cores)
    best_s = float("inf")
    with ThreadPoolExecutor(cores) as readers:
        for _ in range(_PASSES):
            started = time.perf_counter()
            list(readers.map(np.max, parts))
            best_s = min(best_s, time.perf_counter() - started)
    return _COPIED_BYTES / best_s


def bytes_read_per_token(folder: Path, dtype: str) -> int:
    """Return the size of the text weights of the checkpoint in `folder`, stored in `dtype`.

    Each token reads all of them once, which bounds the speed of decoding. Only the first word of
    `dtype` counts; further words are about the vision encoder. The embeddings count once, as the
    output matrix (tied or separate, of the same shape): as input a token reads one row of them.
    """
    number_bytes = _BYTES_PER_NUMBER[dtype.partition(",")[0]]
    return int(
        sum(
            # The output matrix of int4 has int8 weights.
            math.prod(shape) * max(number_bytes, 1 if ".embed_tokens." in name else 0)
            for name, shape in tensor_shapes(folder).items()
            if ".text_model." in f".{name}"
        )
    )


def _cpuinfo(key: str) -> list[str]:
    """Return the values of `key` for each logical processor; empty on systems other than Linux."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pairs = [line.partition(":") for line in lines]
    return [value.strip() for name, _, value in pairs if name.strip() == key]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
