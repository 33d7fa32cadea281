"""The wheel: it holds all that runs, and its command captions in an environment of its own."""

from __future__ import annotations

import os
import re
import site
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Iterator
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from web_client import JPEG, ROOT, ask, picture, read_events

WINDOWS = sys.platform == "win32"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # Without isolation: the build needs nothing but what is installed for the tests.
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)
    (file,) = folder.glob("sightline-*.whl")
    return file


def test_wheel_holds_all_that_runs_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = message_from_string(archive.read(_metadata(archive)).decode())
    expected = {"sightline.py"}
    for folder, place in (
        ("vlm", "vlm"),
        ("web", "web"),
        ("static", "web/static"),
        ("templates", "web/templates"),
    ):
        files = [file for file in (ROOT / folder).rglob("*") if file.is_file()]
        expected |= {
            f"{place}/{file.relative_to(ROOT / folder).as_posix()}"
            for file in files
            if "__pycache__" not in file.parts
        }
    assert names == expected
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    required = metadata.get_all("Requires-Dist", [])
    extras = [line for line in required if "extra ==" in line]
    assert _requirements(line for line in required if line not in extras) == _requirements(pins)
    pins_for_tests = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    assert sorted(each.split(";")[0] for each in extras) == [
        "av==17.1.0",
        "av==18.1.0",
        "pi-heif==1.4.0",
    ]
    assert "\npi-heif==1.4.0;" in pins_for_tests
    bounds = set(metadata["Requires-Python"].split(","))
    assert bounds == {">=3.10", "<3.15"}


def _requirements(lines: Iterable[str]) -> set[str]:
    parsed = [Requirement(line) for line in lines if not line.startswith("#")]
    return {f"{canonicalize_name(it.name)}{it.specifier};{it.marker}" for it in parsed}


def _metadata(archive: zipfile.ZipFile) -> str:
    return next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of programs of an environment that holds the wheel and the tests' packages."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if WINDOWS else "bin")
    python = scripts / ("python.exe" if WINDOWS else "python")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*command, "--no-deps", str(wheel)], check=True)
    (libraries,) = (
        folder.glob("lib/python*/site-packages")
        if not WINDOWS
        else [folder / "Lib" / "site-packages"]
    )
    # Torch and OpenVINO are too large to be installed once more.
    (libraries / "shared.pth").write_text("\n".join(site.getsitepackages()))
    yield scripts


def test_command_captions_from_an_empty_folder(programs: Path, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"SIGHTLINE_LOG_REQUESTS": "off"}
    command = [str(programs / "sightline"), "--port", "0", "--model", "nano", "--device", "cpu"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            match = re.search(r":(\d+) in your browser", process.stdout.readline())
            assert match is not None
            port = int(match[1])
            assert any(line.startswith("Ready:") for line in process.stdout)
            page = ask(port, "GET", "/")[2]
            for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
                assert ask(port, "GET", address)[0] == 200, address
            status, _, body = ask(port, "POST", "/api/captions", picture(), JPEG)
            assert (status, read_events(body)[-1][0]) == (200, "done")
        finally:
            process.terminate()
            process.communicate()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("program", "arguments", "code", "words"),
    [
        ("sightline", ["--help"], 0, "Usage: sightline [OPTIONS]"),
        ("sightline", ["--port", "x"], 2, "sightline: --port: 'x' is not a whole number"),
        ("sightline-models", ["list"], 0, "smolvlm-256m"),
    ],
)
def test_programs_have_the_same_options(
    programs: Path, tmp_path: Path, program: str, arguments: list[str], code: int, words: str
) -> None:
    done = subprocess.run(
        [str(programs / program), *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert words in done.stdout + done.stderr
