"""Memory of large blocks goes back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Blocks of 2 MiB, with small ones between them that stay; prints the MiB that freeing returns.
FREED = """
import gc, psutil, sys
from vlm.heap import return_memory
if sys.argv[1] == "with":
    return_memory()
rss = psutil.Process().memory_info
# glibc raises its threshold when a large block is freed.
del (large := [bytearray(30 * 2**20)])[:]
blocks, kept = [], []
for _ in range(60):
    blocks.append(bytearray(b"x" * (2 * 2**20)))
    kept.append(bytearray(b"y" * 70_000))
before = rss().rss
blocks.clear()
gc.collect()
print((before - rss().rss) // 2**20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps it")
def test_freed_blocks_between_kept_ones_are_given_back() -> None:
    returned = {}
    for way in ("with", "without"):
        command = [sys.executable, "-c", FREED, way]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        returned[way] = int(ended.stdout)
    assert returned["with"] >= 110
    assert returned["without"] < returned["with"] // 2
