"""On which systems Sightline runs, in words, and how `make` chooses a Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vlm.system import NEWEST, OLDEST, problem, this_system

ROOT = Path(__file__).resolve().parents[1]
LINUX: dict[str, Any] = {
    "python": (3, 12),
    "implementation": "CPython",
    "system": "Linux",
    "machine": "x86_64",
    "bits": 64,
    "libc": ("glibc", (2, 36)),
}
MAC = LINUX | {"system": "Darwin", "machine": "arm64", "libc": ("", (0, 0))}
WINDOWS = LINUX | {"system": "Windows", "machine": "AMD64", "libc": ("", (0, 0))}
CONTAINER = "docker compose up"


def test_this_system_is_one_that_it_runs_on() -> None:
    assert problem() == ""
    assert this_system().keys() == LINUX.keys()


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (LINUX, ""),
        (LINUX | {"machine": "aarch64"}, ""),
        (LINUX | {"libc": ("glibc", (2, 31))}, ""),
        (LINUX | {"machine": "aarch64", "libc": ("glibc", (2, 35))}, ""),
        (LINUX | {"machine": "aarch64", "libc": ("glibc", (2, 34))}, "glibc is 2.34.*need 2.35"),
        *((LINUX | {"python": (3, minor)}, "") for minor in range(10, 15)),
        (LINUX | {"python": (3, 9)}, "needs Python 3.10 to 3.14, and this one is 3.9. Install one"),
        (LINUX | {"python": (3, 15)}, "and this one is 3.15"),
        (LINUX | {"python": (4, 0)}, "and this one is 4.0"),
        (LINUX | {"implementation": "PyPy"}, "needs CPython, and this one is PyPy"),
        (LINUX | {"libc": ("musl", (0, 0))}, f"musl .such as Alpine.*{CONTAINER}"),
        (LINUX | {"libc": ("glibc", (2, 28))}, f"too old: its glibc is 2.28.*2.31.*{CONTAINER}"),
        (LINUX | {"machine": "armv7l", "bits": 32}, "64-bit Raspberry Pi OS"),
        (LINUX | {"machine": "aarch64", "bits": 32}, "64-bit Raspberry Pi OS"),
        (LINUX | {"machine": "i686", "bits": 32}, "Install the 64-bit Python"),
        (LINUX | {"machine": "riscv64"}, "no packages for the processor riscv64"),
        (LINUX | {"machine": "ppc64le"}, "no packages for the processor ppc64le"),
        (LINUX | {"system": "FreeBSD"}, f"not on FreeBSD.*{CONTAINER}"),
        (MAC, ""),
        (MAC | {"machine": "x86_64"}, "no PyTorch for Macs with an Intel processor"),
        (MAC | {"python": (3, 9)}, "brew install python@3.14"),
        (WINDOWS, ""),
        (WINDOWS | {"machine": "ARM64"}, "Windows on ARM. Install the Python for x64"),
        (WINDOWS | {"machine": "x86", "bits": 32}, "Install the 64-bit Python"),
        (WINDOWS | {"python": (3, 15)}, r"py -3.14 -m venv .venv"),
    ],
)
def test_each_system_is_accepted_or_told_what_to_do(system: dict[str, Any], words: str) -> None:
    said = problem(system)
    assert re.search(words, said) if words else said == ""


def test_pyproject_and_readme_have_the_same_bounds() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (_, oldest), (_, newest) = OLDEST, NEWEST
    assert f'requires-python = ">=3.{oldest},<3.{newest + 1}"' in text
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"Python 3.{oldest} to 3.{newest}" in readme


def test_app_says_what_is_missing_without_a_traceback(tmp_path: Path) -> None:
    # As a Python that never saw requirements.txt.
    ended = subprocess.run(
        [sys.executable, "-S", "app.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("This Python lacks packages of Sightline (click, ")
    assert ended.stderr.count("\n") == 1


# -- make --

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def fake_python(folder: Path, name: str, says: str = "", venv_fails: bool = False) -> None:
    """Write a program that answers as a Python does for which `vlm.system` says `says`."""
    made = "exit 1" if venv_fails else f"mkdir -p .venv/bin; echo {name} > .venv/made-by"
    script = f"""#!/bin/sh
case "$*" in
  "-m vlm.system") echo "{says}"; test -z "{says}";;
  "-m venv --clear .venv") {made};;
  "-m pip --version") exit 0;;
  "-m ensurepip") exit 1;;
esac
"""
    file = folder / name
    file.write_text(script)
    file.chmod(0o755)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile, and an empty folder `bin` that is the PATH."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "mkdir", "touch", "rm", "test"):
        (programs / name).symlink_to(str(shutil.which(name)))
    return tmp_path


def make(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(shutil.which("make")), "--no-print-directory", *arguments]
    env = {"PATH": str(clone / "bin"), "HOME": str(clone)}
    return subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True, check=False)


OLD, NEW = "This one is 3.9.", "This one is 3.15."


@needs_make
@pytest.mark.parametrize(
    ("pythons", "arguments", "made_by"),
    [
        ({"python3": ""}, (), "python3"),
        ({"python3": NEW, "python3.13": "", "python3.11": ""}, (), "python3.13"),
        ({"python3": OLD, "python3.10": ""}, (), "python3.10"),
        ({"python3.14": "", "python3.12": ""}, (), "python3.14"),
        ({"python": ""}, (), "python"),
        ({"python3": "", "python3.12": ""}, ("PYTHON=python3.12",), "python3.12"),
    ],
)
def test_make_takes_the_first_python_that_fits(
    clone: Path, pythons: dict[str, str], arguments: tuple[str, ...], made_by: str
) -> None:
    for name, says in pythons.items():
        fake_python(clone / "bin", name, says)
    done = make(clone, ".venv/.python", *arguments)
    assert done.returncode == 0, done.stderr
    assert (clone / ".venv" / "made-by").read_text().strip() == made_by


@needs_make
@pytest.mark.parametrize(
    ("pythons", "arguments", "words"),
    [
        ({"python3": NEW, "python3.9": OLD}, (), NEW),
        ({"python3": "", "python3.9": OLD}, ("PYTHON=python3.9",), OLD),
        ({"python3": ""}, ("PYTHON=python7",), "There is no Python here (python7)."),
        ({}, (), "There is no Python here (python3 python3.14"),
    ],
)
def test_make_says_why_no_python_fits(
    clone: Path, pythons: dict[str, str], arguments: tuple[str, ...], words: str
) -> None:
    for name, says in pythons.items():
        fake_python(clone / "bin", name, says)
    done = make(clone, "run", *arguments)
    assert done.returncode != 0
    assert done.stdout.startswith(words)
    # Nothing was downloaded before.
    assert "Installing" not in done.stdout


@needs_make
def test_make_names_the_package_without_which_no_environment_is_made(clone: Path) -> None:
    fake_python(clone / "bin", "python3", venv_fails=True)
    assert "apt install python3-venv" in make(clone, ".venv/.python").stdout


@needs_make
@pytest.mark.parametrize("gone", ["removed", "too new"])
def test_make_makes_an_environment_anew_whose_python_is_gone(clone: Path, gone: str) -> None:
    programs = clone / ".venv" / "bin"
    programs.mkdir(parents=True)
    for stamp in (".python", ".run-packages", ".test-packages"):
        (clone / ".venv" / stamp).touch()
    if gone == "removed":
        (programs / "python").symlink_to("/nowhere/python3.10")
    else:
        fake_python(programs, "python", NEW)
    fake_python(clone / "bin", "python3.12")
    assert make(clone, ".venv/.python").returncode == 0
    assert (clone / ".venv" / "made-by").read_text().strip() == "python3.12"
    assert not (clone / ".venv" / ".run-packages").exists()


@needs_make
def test_make_keeps_an_environment_that_fits(clone: Path) -> None:
    programs = clone / ".venv" / "bin"
    programs.mkdir(parents=True)
    fake_python(programs, "python")
    kept = clone / ".venv" / ".run-packages"
    kept.touch()
    assert make(clone, ".venv/.python").returncode == 0
    assert not (clone / ".venv" / "made-by").exists()
    assert kept.exists()
    assert os.access(programs / "python", os.X_OK)
