"""How much memory is free to this process: of the machine, or of the container that it is in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUPS: Final = Path("/proc/self/cgroup")


def free_host_bytes(cgroups: Path = _CGROUPS, own_cgroups: Path = _OWN_CGROUPS) -> int:
    """What this process may still take of the machine's memory, without swap.

    A container's limit counts, version 1 or 2 of Linux's control groups; `cgroups` is where their
    tree is mounted, and `own_cgroups` names this process' own places in it. What files fill of
    either is free: it is given back when it is needed.
    """
    return min([psutil.virtual_memory().available, *_free_in_cgroups(cgroups, own_cgroups)])


def _free_in_cgroups(cgroups: Path, own_cgroups: Path) -> Iterator[int]:
    """What each group with a limit on memory leaves, of those that this process is in."""
    with suppress(OSError):
        # https://docs.kernel.org/admin-guide/cgroup-v2.html: "0::/the/path", and in version 1
        # "4:memory:/the/path" for each controller.
        for line in own_cgroups.read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" and not controllers:
                yield from _free_up_from(cgroups, path, _V2_FILES)
            elif "memory" in controllers.split(","):
                yield from _free_up_from(cgroups / "memory", path, _V1_FILES)


# Limit, use, and what the files that it may give back are called among its statistics.
_V2_FILES: Final = ("memory.max", "memory.current", ("inactive_file", "active_file"))
_V1_FILES: Final = (
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


def _free_up_from(root: Path, path: str, files: tuple[str, str, tuple[str, str]]) -> Iterator[int]:
    limit_file, use_file, cache_names = files
    # A container may see its own group as the root of the tree, whatever its path says.
    group = root / path.strip("/")
    for folder in (group, *group.parents):
        # A group without a limit says "max", and the root group has no such file.
        with suppress(OSError, ValueError):
            limit = int((folder / limit_file).read_text(encoding="ascii"))
            used = int((folder / use_file).read_text(encoding="ascii"))
            lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
            statistics = dict(line.split(" ", 1) for line in lines)
            cached = sum(int(statistics.get(name, 0)) for name in cache_names)
            yield max(0, limit - used + cached)
        if folder == root:
            break
