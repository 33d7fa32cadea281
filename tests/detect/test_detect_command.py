"""Laws of `python -m vlm.detect`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vlm.detect.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def cat(photographs: dict[str, Image.Image], tmp_path: Path) -> str:
    """A file with a photograph of a cat."""
    file = tmp_path / "cat.png"
    photographs["chelsea"].save(file)
    return str(file)


def test_boxes_are_printed_as_a_table(cat: str, capsys: Capsys) -> None:
    assert main([cat], {}) == 0
    printed = capsys.readouterr()
    heading, row = printed.out.splitlines()
    assert heading == f"{cat}:"
    name, score, *corners = row.split()
    assert name == "cat"
    assert 0.5 < float(score) < 0.7
    assert len(corners) == 4
    assert printed.err == ""


def test_boxes_are_printed_as_json(cat: str, capsys: Capsys) -> None:
    assert main(["--json", cat, cat], {}) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["detector"] == "nanodet"
    assert [each["file"] for each in printed["files"]] == [cat, cat]
    ((box,), _) = (each["boxes"] for each in printed["files"])
    assert box["name"] == "cat"
    assert all(0 <= number <= 1 for number in (box["score"], *box["box"]))


def test_doubtful_boxes_are_printed_on_request(cat: str, capsys: Capsys) -> None:
    assert main(["--json", "--all", cat], {}) == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert len(file["boxes"]) > 1


def test_nothing_found_is_said(tmp_path: Path, capsys: Capsys) -> None:
    file = tmp_path / "grey.png"
    Image.new("RGB", (64, 64), "grey").save(file)
    assert main([str(file)], {}) == 0
    assert capsys.readouterr().out == f"{file}: nothing found\n"


def test_a_bad_file_is_named_and_the_others_are_printed(
    cat: str, tmp_path: Path, capsys: Capsys
) -> None:
    text, cut, gif = tmp_path / "a.txt", tmp_path / "cut.png", tmp_path / "a.gif"
    text.write_text("no picture")
    cut.write_bytes(Path(cat).read_bytes()[:5000])
    Image.new("RGB", (9, 9)).save(gif)
    bad = {
        "missing.png": "It cannot be read: No such file",
        str(tmp_path): "It cannot be read",
        str(text): "not an image that can be read",
        str(cut): "cut short",
        str(gif): "GIF images are not taken",
    }
    assert main([*bad, cat], {}) == 1
    printed = capsys.readouterr()
    assert " cat " in printed.out
    for line, (file, message) in zip(printed.err.splitlines(), bad.items(), strict=True):
        assert line.startswith(f"{file}: {message}") or (file in line and message in line)


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        (["--find", "cup"], {}, "nanodet finds its own things only"),
        (["--detector", "owlv2-base", "--offline"], {}, "not on this machine"),
        ([], {"SIGHTLINE_DETECTOR": "owlv2-base", "SIGHTLINE_OFFLINE": "1"}, "not on this machine"),
        ([], {"SIGHTLINE_DETECTOR": "none"}, "SIGHTLINE_DETECTOR is none. Choose --detector"),
        ([], {"SIGHTLINE_DETECTOR": "yolo"}, "SIGHTLINE_DETECTOR: 'yolo' is not one of"),
    ],
)
def test_a_detector_that_cannot_be_used_is_an_error(
    arguments: list[str], env: dict[str, str], message: str, cat: str, capsys: Capsys
) -> None:
    assert main([*arguments, cat], env) == 1
    assert message in capsys.readouterr().err


def test_it_runs_as_a_program_without_the_packages_of_other_detectors(cat: str) -> None:
    code = (
        "import sys; from vlm.detect.__main__ import main; code = main(sys.argv[1:], {})\n"
        "heavy = {'torch', 'transformers', 'scipy', 'cv2'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, cat], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "cat" in done.stdout


def test_the_protocol_imports_nothing_that_runs_a_detector() -> None:
    code = (
        "import sys, vlm.detect.detector, vlm.settings\n"
        "heavy = {'torch', 'transformers', 'openvino', 'scipy', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
