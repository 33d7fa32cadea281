"""What the figures were measured on: processor, cores, software, memory bandwidth."""

from __future__ import annotations

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

_PACKAGES: Final = ("openvino", "torch", "transformers", "numpy", "pillow")
# Far more than any processor's cache holds.
_COPIED_BYTES: Final = 512 * 2**20
_PASSES: Final = 5


def describe_machine() -> dict[str, object]:
    """Processor, physical cores, operating system and the versions of what computes."""
    return {
        "cpu": cpu_name(),
        "cores": physical_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()}
        | {package: _version(package) for package in _PACKAGES},
    }


def cpu_name() -> str:
    """The processor's own name for itself."""
    if named := _cpuinfo("model name"):
        return named[0]
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()


@cache
def physical_cores() -> int:
    """How many cores this process may use; two threads of one core count once."""
    logical = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        logical = len(os.sched_getaffinity(0))
    pairs = set(zip(_cpuinfo("physical id"), _cpuinfo("core id"), strict=False))
    return min(logical, len(pairs) or logical)


def memory_bandwidth() -> float:
    """Bytes a second that all cores together read, at best, from an array beyond the caches."""
    cores = physical_cores()
    parts = np.array_split(np.ones(_COPIED_BYTES // 4, dtype=np.float32), cores)
    best_s = float("inf")
    with ThreadPoolExecutor(cores) as readers:
        for _ in range(_PASSES):
            started = time.perf_counter()
            list(readers.map(np.max, parts))
            best_s = min(best_s, time.perf_counter() - started)
    return _COPIED_BYTES / best_s


def _cpuinfo(key: str) -> list[str]:
    """The values of `key` for each logical processor, where Linux tells them."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    pairs = [line.partition(":") for line in lines]
    return [value.strip() for name, _, value in pairs if name.strip() == key]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
