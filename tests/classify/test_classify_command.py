"""`python -m vlm.classify`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from vlm.classify.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
BEAR = ROOT.parent / "shared" / "photos" / "000000000285.jpg"


@pytest.fixture
def black(tmp_path: Path) -> str:
    path = tmp_path / "black.png"
    Image.new("RGB", (40, 30)).save(path)
    return str(path)


def test_a_bad_file_is_told_and_the_others_are_printed(
    black: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.jpg"
    broken.write_bytes(b"no picture")
    assert main([str(broken), black, str(missing)]) == 1
    printed = capsys.readouterr()
    assert printed.out == f"{black}: nothing that the classifier is sure of\n"
    assert [line.split(": ")[0] for line in printed.err.splitlines()] == [
        str(broken),
        str(missing),
    ]


def test_json_has_an_entry_for_each_picture(black: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", black, black]) == 0
    assert json.loads(capsys.readouterr().out) == {"files": [{"file": black, "things": []}] * 2}


@pytest.mark.skipif(not BEAR.exists(), reason="the photographs are not here")
def test_names_have_probability_and_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(BEAR)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["bear", "0.99", "animal"]
    assert main(["--json", str(BEAR)]) == 0
    [record] = json.loads(capsys.readouterr().out)["files"]
    assert record["things"] == [
        {"name": "bear", "probability": pytest.approx(0.99, abs=0.01), "kind": "animal"}
    ]
