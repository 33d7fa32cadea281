"""`python -m vlm.reading`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import ImageOps

from reading_kit import picture
from vlm.reading.__main__ import main

SIGN = picture((400, 200), ("Platform 9", 100, 80))


@pytest.fixture
def sign(tmp_path: Path) -> str:
    path = tmp_path / "sign.png"
    SIGN.save(path)
    return str(path)


def test_a_bad_file_is_told_and_the_others_are_printed(
    sign: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.jpg"
    broken.write_bytes(b"no picture")
    assert main([str(broken), sign, str(missing)]) == 1
    printed = capsys.readouterr()
    head, line = printed.out.splitlines()
    assert head == f"{sign}:"
    score, *box = map(float, line.split()[:5])
    assert line.split(maxsplit=5)[5] == "Platform 9"
    assert score >= 0.9
    assert box == pytest.approx([0.25, 0.4, 0.55, 0.56], abs=0.05)
    assert [each.split(": ")[0] for each in printed.err.splitlines()] == [str(broken), str(missing)]


def test_json_has_an_entry_for_each_picture(
    sign: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blank = tmp_path / "blank.png"
    picture((100, 80)).save(blank)
    assert main(["--json", sign, str(blank)]) == 0
    found = json.loads(capsys.readouterr().out)["files"]
    assert [(each["file"], [line["text"] for line in each["lines"]]) for each in found] == [
        (sign, ["Platform 9"]),
        (str(blank), []),
    ]
    assert main([str(blank)]) == 0
    assert capsys.readouterr().out == f"{blank}: no text\n"


def test_mirrored_pictures_are_turned_back(
    sign: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirrored = tmp_path / "mirrored.png"
    ImageOps.mirror(SIGN).save(mirrored)
    assert main(["--mirrored", str(mirrored)]) == 0
    assert capsys.readouterr().out.endswith("  Platform 9\n")
