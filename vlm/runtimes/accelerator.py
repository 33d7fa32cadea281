"""Test in a child process whether torch can use an accelerator here. Imports no torch.

The result holds for this process: a child process tests the device once, and a device that fails
later is not used again.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any, Final

from vlm.runtimes.device_words import reason

# Most of it is the import of torch from a slow disk.
PROBE_S: Final = 60.0
# The CUDA of the PyTorch that requirements.txt pins, as in the address of its packages.
CUDA_PACKAGES: Final = "cu130"

_ROOT: Final = Path(__file__).resolve().parents[2]
# Device files of the drivers of NVIDIA and AMD on Linux, and of either in WSL.
_GPU_FILES: Final = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_NVIDIA_FILES: Final = ("/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1")
# In torch/version.py: `cuda: Optional[str] = '13.0'`, or None.
_VERSION_LINE: Final = re.compile(r"^(__version__|cuda|hip|xpu)\b[^=]*= '([^']+)'", re.MULTILINE)
# What torch says if there is no device, or if CUDA_VISIBLE_DEVICES hides them.
_NO_DEVICE: Final = ("found no nvidia driver", "no cuda gpus are available", "no hip gpus are")


@dataclass(frozen=True)
class Accelerator:
    """The result of the test."""

    device: str | None
    """Its name for torch; None if the CPU is to be used."""
    problem: str = ""
    """Why a device that is here is not used, in a sentence; empty if there is none."""


@dataclass(frozen=True)
class _TorchBuild:
    version: str
    cuda: str | None = None
    hip: str | None = None
    xpu: str | None = None


_NONE: Final = Accelerator(None)


class _Check:
    """The result of the test for this process. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Accelerator | None = None

    def result(self, on_progress: Callable[[str], None] = lambda _: None) -> Accelerator:
        """Return the accelerator to use for the device "auto"; the first call tests it."""
        with self._lock:
            if self._found is None:
                self._found = _test(on_progress)
            return self._found

    def mark_failed(self, message: str) -> str:
        """Use no accelerator from now on, because it failed with `message`; return the reason."""
        with self._lock:
            self._found = Accelerator(None, reason(message))
            return self._found.problem

    def forget(self) -> None:
        """Test again when an accelerator is wanted the next time."""
        with self._lock:
            self._found = None


CHECK: Final = _Check()


def without_cuda() -> str:
    """Return how to install a PyTorch for the NVIDIA card that is here; empty if that is well."""
    build = _torch_build()
    if build is None or build.cuda or build.hip or build.xpu or not _has_nvidia_driver():
        return ""
    version = build.version.partition("+")[0]
    return (
        "There is an NVIDIA card, but this PyTorch is built without CUDA, so the CPU captions. To "
        f"use the card: python -m pip install --force-reinstall torch=={version} --index-url "
        f"https://download.pytorch.org/whl/{CUDA_PACKAGES}"
    )


def _test(on_progress: Callable[[str], None]) -> Accelerator:
    if problem := without_cuda():
        return Accelerator(None, problem)
    if not may_have_gpu():
        return _NONE
    on_progress("Testing the graphics card ...")
    try:
        report = _run_probe()
    except subprocess.TimeoutExpired:
        return Accelerator(None, reason("the driver does not answer"))
    if report is None:
        return Accelerator(None, reason("the driver ended the test"))
    if report["error"] is None:
        return Accelerator(report["device"])
    if any(words in report["error"].lower() for words in _NO_DEVICE):
        return _NONE
    return Accelerator(None, reason(report["error"], report["name"]))


def may_have_gpu() -> bool:
    """Return False if there is certainly no GPU that this PyTorch uses."""
    build = _torch_build()
    if build is None:
        return False
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if not (build.cuda or build.hip or build.xpu):
        return False
    return (
        not sys.platform.startswith("linux")
        or bool(build.xpu)
        or any(map(os.path.exists, _GPU_FILES))
    )


@cache
def _torch_build() -> _TorchBuild | None:
    """Return what the installed torch is built for, without importing it; None if it is absent."""
    spec = util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    source = ""
    with suppress(OSError, ValueError):
        source = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    values = dict(_VERSION_LINE.findall(source))
    version = values.pop("__version__", None)
    return _TorchBuild(version, **values) if version else None


def _has_nvidia_driver() -> bool:
    if sys.platform == "win32":
        system = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32"
        return (system / "nvcuda.dll").exists()
    if sys.platform == "darwin":
        return False
    return any(map(os.path.exists, _NVIDIA_FILES)) or shutil.which("nvidia-smi") is not None


def _run_probe() -> dict[str, Any] | None:
    """Return the report of the child process, None if it ended without one."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-m", "vlm.runtimes.torch.probe"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    try:
        output, _ = process.communicate(timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        # A process that waits for its driver cannot be ended; it must not block this one.
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1.0)
        raise
    # Drivers print lines of their own.
    for line in reversed(output.splitlines()):
        with suppress(ValueError):
            report = json.loads(line)
            if isinstance(report, dict) and {"device", "name", "error"} <= report.keys():
                return report
    return None
