"""Peak memory of a model (weights, KV cache, the rest), and the memory that is free.

The factors for a CPU were fitted to peaks of resident memory, mapped files included, which
docs/experiments.md lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from vlm.checkpoints.files import ModelSize
from vlm.runtimes.base import MAX_CACHED_BYTES

# The longest request: 17 tiles of 81 tokens (the largest SmolVLM), the text between them, a prompt
# of 2000 characters, and an answer of 512 tokens.
LONGEST_REQUEST_TOKENS: Final = 2560

_MB: Final = 10**6


@dataclass(frozen=True)
class Fit:
    """The peak memory of a model in `dtype` on `device`, and the free memory there."""

    needed_bytes: int
    free_bytes: int
    device: str
    dtype: str

    @property
    def fits(self) -> bool:
        return self.needed_bytes <= self.free_bytes


def kv_bytes(size: ModelSize, bytes_per_number: int, tokens: int = LONGEST_REQUEST_TOKENS) -> int:
    """Return the size of the KV cache of `tokens`, at most the model's context."""
    per_token = 2 * size.layers * size.kv_heads * size.head_dim * bytes_per_number
    return per_token * min(tokens, size.context_tokens)


def torch_cpu_bytes(size: ModelSize, bytes_per_number: int) -> int:
    """Return the peak of loading a model on the CPU by torch, and of captioning."""
    weights = size.parameters * bytes_per_number
    return weights + 2 * kv_bytes(size, bytes_per_number) + MAX_CACHED_BYTES + 400 * _MB


_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")


def free_host_bytes(cgroups: Path = _CGROUPS, own_cgroups: Path = _OWN_CGROUPS) -> int:
    """Return the memory that this process can still allocate, without swap.

    A container's limit counts (cgroup v1 or v2); `cgroups` is the mount point of their tree,
    `own_cgroups` lists the groups of this process. The page cache counts as free.
    """
    return min([psutil.virtual_memory().available, *_free_in_cgroups(cgroups, own_cgroups)])


def _free_in_cgroups(cgroups: Path, own_cgroups: Path) -> Iterator[int]:
    """Yield what is left of the limit of each group that this process is in and that has one."""
    with suppress(OSError):
        # https://docs.kernel.org/admin-guide/cgroup-v2.html: "0::/the/path", and in version 1
        # "4:memory:/the/path" for each controller.
        for line in own_cgroups.read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" and not controllers:
                yield from _free_up_from(cgroups, path, _V2_FILES)
            elif "memory" in controllers.split(","):
                yield from _free_up_from(cgroups / "memory", path, _V1_FILES)


# Files of limit and use, and the names of the page cache in memory.stat.
_V2_FILES: Final = ("memory.max", "memory.current", ("inactive_file", "active_file"))
_V1_FILES: Final = (
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


def _free_up_from(root: Path, path: str, files: tuple[str, str, tuple[str, str]]) -> Iterator[int]:
    limit_file, use_file, cache_names = files
    # In a container its own group may be mounted as the root of the tree, so the path is missing.
    group = root / path.strip("/")
    for folder in (group, *group.parents):
        # The limit is "max" if there is none; the root group has no such file.
        with suppress(OSError, ValueError):
            limit = int((folder / limit_file).read_text(encoding="ascii"))
            used = int((folder / use_file).read_text(encoding="ascii"))
            lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            statistics = dict(line.split(" ", 1) for line in lines)
            cached = sum(int(statistics.get(name, 0)) for name in cache_names)
            yield max(0, limit - used + cached)
        if folder == root:
            break
