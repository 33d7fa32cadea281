"""Run clients of other projects, each with its own versions of the packages that it needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = Path(__file__).parent / "programs"
# For a download of some hundred megabytes, or a program that hangs.
HANG_GUARD_S = 900.0

# The clients neither report to their makers nor fetch lists of models.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "LANGSMITH_TRACING": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "AI_SDK_LOG_WARNINGS": "false",
}
_KEPT = ("PATH", "SYSTEMROOT", "LANG", "TMPDIR", "TEMP", "TMP")


class Environments:
    """Makes environments of pinned packages in one folder, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, ...], Path] = {}

    def python(self, *packages: str) -> Path:
        """Return the Python of an environment with `packages`, such as `openai==3.57.0`."""
        if packages not in self._made:
            folder = self._folder / f"python-{len(self._made)}"
            venv.create(folder, with_pip=True)
            python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
            _run([python, "-m", "pip", "install", "--quiet", *packages], self._folder, os.environ)
            self._made[packages] = python
        return self._made[packages]

    def node(self, *packages: str) -> Path:
        """Return a folder whose programs may import `packages`, such as `ai@7.0.173`.

        Skip the test if there is no npm.
        """
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("needs npm")
        if packages not in self._made:
            folder = self._folder / f"node-{len(self._made)}"
            folder.mkdir()
            (folder / "package.json").write_text('{"private": true, "type": "module"}')
            _run([npm, "install", "--loglevel=error", *packages], folder, os.environ)
            self._made[packages] = folder
        return self._made[packages]


def run_python(python: Path, program: str, *args: object) -> dict[str, Any]:
    """Return the JSON that `programs/PROGRAM.py` prints last."""
    return _answer([python, PROGRAMS / f"{program}.py", *args], python.parent.parent)


def run_node(folder: Path, program: str, *args: object) -> dict[str, Any]:
    """Return the JSON that `programs/PROGRAM.mjs` prints last."""
    # Node looks for packages beside the program.
    copy = shutil.copy(PROGRAMS / f"{program}.mjs", folder)
    return _answer(["node", copy, *args], folder)


def _answer(command: Sequence[object], folder: Path) -> dict[str, Any]:
    """Run a program whose home is `folder`, without settings of this process's user."""
    env = {name: value for name, value in os.environ.items() if name in _KEPT}
    home = {"HOME": str(folder), "USERPROFILE": str(folder)}
    found: dict[str, Any] = json.loads(_run(command, folder, env | _QUIET | home).splitlines()[-1])
    return found


def _run(command: Sequence[object], folder: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        list(map(str, command)),
        check=False,
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=HANG_GUARD_S,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    return done.stdout
