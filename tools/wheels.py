"""Check that each pinned package has a wheel for each system: `python -m tools.wheels`.

pip's own dry run for another platform, with the markers of that platform, which pip takes from this
one. Only metadata is downloaded. The exit code is 1 if a wheel is missing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from vlm.system import NEWEST, OLDEST

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHONS: Final = tuple(f"{OLDEST[0]}.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1))


@dataclass(frozen=True)
class Target:
    """A kind of system."""

    name: str
    platforms: tuple[str, ...]
    """Tags of wheels that it takes, for pip."""
    sys_platform: str
    platform_system: str
    platform_machine: str
    is_supported: bool = True

    def markers(self, python: str) -> dict[str, str]:
        """Return the environment of markers for a `python` such as "3.14"."""
        return {
            "implementation_name": "cpython",
            "os_name": "nt" if self.sys_platform == "win32" else "posix",
            "platform_machine": self.platform_machine,
            "platform_python_implementation": "CPython",
            "platform_system": self.platform_system,
            "python_full_version": f"{python}.0",
            "python_version": python,
            "sys_platform": self.sys_platform,
            "extra": "",
        }


def _linux(name: str, glibc: int, machine: str, is_supported: bool = True) -> Target:
    """Return a Linux with glibc 2.`glibc`, which takes wheels for every older one."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(glibc, 16, -1)]
    tags += [f"manylinux2014_{machine}", f"linux_{machine}"]
    return Target(name, tuple(tags), "linux", "Linux", machine, is_supported)


def _mac(name: str, release: int, machine: str, is_supported: bool = True) -> Target:
    tags = [
        f"macosx_{major}_0_{each}"
        for major in range(release, 10, -1)
        for each in (machine, "universal2")
    ]
    tags += [f"macosx_10_{minor}_universal2" for minor in range(15, 8, -1)]
    return Target(name, tuple(tags), "darwin", "Darwin", machine, is_supported)


TARGETS: Final = (
    _linux("Linux x86-64 (glibc 2.31)", 31, "x86_64"),
    _linux("Linux arm64 (glibc 2.35)", 35, "aarch64"),
    _mac("macOS 14 arm64", 14, "arm64"),
    Target("Windows x64", ("win_amd64",), "win32", "Windows", "AMD64"),
    _linux("RHEL 8 (glibc 2.28)", 28, "x86_64", is_supported=False),
    Target("Alpine x86-64", ("musllinux_1_2_x86_64",), "linux", "Linux", "x86_64", False),
    _mac("macOS 14 Intel", 14, "x86_64", is_supported=False),
    Target("Windows on ARM", ("win_arm64",), "win32", "Windows", "ARM64", False),
    _linux("Raspberry Pi OS, 32 bits", 36, "armv7l", is_supported=False),
)


def main(argv: Sequence[str]) -> int:
    """Print a line for each system and Python; return the exit code."""
    arguments = _parser().parse_args(argv)
    wrong = False
    for target in TARGETS:
        if arguments.system.lower() not in target.name.lower():
            continue
        for python in arguments.python or (PYTHONS[0], PYTHONS[-1]):
            missing = missing_wheels(target, python)
            words = f"no wheel: {', '.join(missing)}" if missing else "all wheels"
            print(f"{target.name}, Python {python}: {words}", flush=True)
            # A system that is listed as unsupported and has all wheels is a mistake, too.
            wrong = wrong or bool(missing) is target.is_supported
    return 1 if wrong else 0


def missing_wheels(target: Target, python: str) -> list[str]:
    """Return the packages without a wheel, those that others require included."""
    environment = target.markers(python)
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = _applying((line for line in lines if line and not line.startswith("#")), environment)
    seen: set[str] = set()
    missing: list[str] = []
    while wanted:
        new = [each for each in wanted if canonicalize_name(each.name) not in seen]
        seen |= {canonicalize_name(each.name) for each in new}
        found, without = _dry_run([_plain(each) for each in new], target, python)
        missing += without
        wanted = list(_applying(found, environment))
    return sorted(missing)


def _applying(lines: Iterable[str], environment: dict[str, str]) -> list[Requirement]:
    parsed = (Requirement(line) for line in lines)
    return [it for it in parsed if it.marker is None or it.marker.evaluate(environment)]


def _plain(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _dry_run(requirements: list[str], target: Target, python: str) -> tuple[list[str], list[str]]:
    """Return what the found packages require, and the names of those without a wheel."""
    if not requirements:
        return [], []
    report = _pip(requirements, target, python)
    if report is not None:
        return list(_required(report)), []
    if len(requirements) == 1:
        return [], [requirements[0]]
    # One of them has no wheel; pip names the first only.
    half = len(requirements) // 2
    parts = [_dry_run(part, target, python) for part in (requirements[:half], requirements[half:])]
    return [each for found, _ in parts for each in found], [it for _, no in parts for it in no]


def _pip(
    requirements: list[str], target: Target, python: str
) -> dict[str, list[dict[str, dict[str, list[str]]]]] | None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--quiet"]
        command += ["--disable-pip-version-check", "--ignore-installed", "--only-binary", ":all:"]
        command += ["--python-version", python, "--implementation", "cp", "--target", folder]
        command += ["--report", str(report)]
        for tag in target.platforms:
            command += ["--platform", tag]
        done = subprocess.run(command + requirements, capture_output=True, check=False)
        return json.loads(report.read_text(encoding="utf-8")) if done.returncode == 0 else None


def _required(report: Any) -> Iterator[str]:
    for package in report["install"]:
        yield from package["metadata"].get("requires_dist", [])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.wheels", description=__doc__)
    parser.add_argument("--system", default="", help="only systems whose names contain this")
    parser.add_argument(
        "--python", action="append", choices=PYTHONS, help="such as 3.12 (default: oldest, newest)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
