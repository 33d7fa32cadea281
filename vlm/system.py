"""Check that Sightline runs on this system: `python -m vlm.system`, before an installation.

Standard library only, and no newer syntax: any Python 3 must be able to say that it is too old.
"""

import os
import platform
import struct
import sys
from typing import Any

# The oldest and the newest Python for which numpy, torch and OpenVINO have wheels.
OLDEST, NEWEST = (3, 10), (3, 14)

_CONTAINER = "Use the container instead: `docker compose up` (see the README)."
# By the wheels of llguidance, and of OpenVINO for arm64 (python -m tools.wheels).
_OLDEST_GLIBC = {"x86_64": (2, 31), "aarch64": (2, 35)}
# Those that a start imports.
_PACKAGES = ("click", "flask", "numpy", "PIL", "tokenizers", "tqdm", "uvicorn")


def problem(where: Any = None) -> str:
    """Return why Sightline cannot run on the system `where`, by default this one; else "".

    `where` has the keys of `this_system`.
    """
    it = this_system() if where is None else where
    system, machine = it["system"], it["machine"].lower()
    if not OLDEST <= it["python"] <= NEWEST:
        # % formatting: the f of an f-string is unknown to Python 3.5.
        return "Sightline needs Python %d.%d to %d.%d, and this one is %d.%d. %s" % (
            OLDEST + NEWEST + tuple(it["python"]) + (_python_advice(system),)
        )
    if it["implementation"] != "CPython":
        return "Sightline needs CPython, and this one is %s." % it["implementation"]
    if it["bits"] == 32:
        if system == "Linux" and machine.startswith(("arm", "aarch64")):
            return "This is a 32-bit system. Install the 64-bit Raspberry Pi OS (or another one)."
        return "This Python is a 32-bit one. Install the 64-bit Python."
    if system == "Darwin":
        if machine != "arm64":
            return (
                "There is no PyTorch for Macs with an Intel processor (or for a Python under "
                "Rosetta). On Apple silicon install the Python for arm64; on Intel use another "
                "machine with --engine openai, or a container."
            )
        return ""
    if system == "Windows":
        if "arm" in machine:
            return (
                "There are no packages for Windows on ARM. Install the Python for x64 from "
                "python.org, which Windows runs too."
            )
        return ""
    if system != "Linux":
        return "Sightline runs on Linux, macOS and Windows, not on %s. %s" % (system, _CONTAINER)
    if machine not in ("x86_64", "amd64", "aarch64", "arm64"):
        return "There are no packages for the processor %s." % machine
    library, version = it["libc"]
    if library != "glibc":
        return "This Linux has the C library musl (such as Alpine), without packages. " + _CONTAINER
    oldest = _OLDEST_GLIBC["x86_64" if machine in ("x86_64", "amd64") else "aarch64"]
    if version < oldest:
        return "This Linux is too old: its glibc is %d.%d, and packages need %d.%d. %s" % (
            tuple(version) + oldest + (_CONTAINER,)
        )
    return ""


def this_system() -> Any:
    """Return the facts that `problem` judges."""
    machine = platform.machine()
    if platform.system() == "Windows":
        # Of the Python, not of the processor: the one for x64 runs on ARM, too.
        machine = os.environ.get("PROCESSOR_ARCHITECTURE") or machine
    return {
        "python": sys.version_info[:2],
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "machine": machine,
        "bits": struct.calcsize("P") * 8,
        "libc": _libc(),
    }


def _libc() -> Any:
    library, version = platform.libc_ver()
    if library == "glibc":
        return "glibc", tuple(int(part) for part in version.split(".")[:2])
    return "musl" if platform.system() == "Linux" else "", (0, 0)


def _python_advice(system: str) -> str:
    newest = "%d.%d" % NEWEST
    if system == "Windows":
        return "Install Python %s from python.org, then: py -%s -m venv .venv" % (newest, newest)
    if system == "Darwin":
        return "Install one (brew install python@%s), or name one: make run PYTHON=..." % newest
    return "Install one, or name one: make run PYTHON=python%s" % newest


def require_supported() -> None:
    """End the program with a sentence if Sightline cannot run on this system."""
    words = problem()
    if words:
        sys.exit(words)


def require_packages() -> None:
    """End the program with a sentence if packages are not installed."""
    from importlib import util

    missing = [each for each in _PACKAGES if util.find_spec(each) is None]
    if missing:
        sys.exit(
            "This Python lacks packages of Sightline (%s). Start it by `make run`, or install "
            "them: %s -m pip install -r requirements.txt" % (", ".join(missing), _python())
        )


def _python() -> str:
    return "py" if platform.system() == "Windows" else os.path.basename(sys.executable)


if __name__ == "__main__":
    print(problem())
    sys.exit(1 if problem() else 0)
