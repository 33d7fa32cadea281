"""Laws of `python -m vlm.models list|fetch|check`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fetcher import HUB_ID, Fetcher, change_last_byte
from huggingface_hub import constants

from hub_server import Fault
from vlm.checkpoints.catalogue import KNOWN_MODELS
from vlm.checkpoints.files import WEIGHTS_FILE
from vlm.models.__main__ import main
from vlm.runtimes.openvino.cache import get_conversion, seal

KNOWN_ID = "HuggingFaceTB/SmolVLM-256M-Instruct"
Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def default(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> Fetcher:
    """`fetcher`, with its hub and cache as those of the environment."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(fetcher.cache))
    monkeypatch.setattr(constants, "ENDPOINT", fetcher.hub.url)
    fetcher.hub.repositories[KNOWN_ID] = fetcher.hub.repositories[HUB_ID]
    return fetcher


def listed(capsys: Capsys) -> dict[str, str]:
    capsys.readouterr()
    assert main(["list"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["MODEL", "DOWNLOAD", "MEMORY", "HERE", "GOOD", "FOR"]
    return {row.split()[0]: row for row in rows}


def test_list_shows_how_much_of_each_model_is_here(default: Fetcher, capsys: Capsys) -> None:
    rows = listed(capsys)
    assert list(rows) == [model.name for model in KNOWN_MODELS]
    assert " yes " in rows["nano"]
    assert "517 MB" in rows["smolvlm-256m"]
    assert " no " in rows["smolvlm-256m"]
    default.hub.faults += [Fault(cut_after_bytes=3_000_000, times=1), Fault(status=404, spared=2)]
    assert main(["fetch", "smolvlm-256m"]) == 1
    assert "404" in capsys.readouterr().err
    assert " 3 MB " in listed(capsys)["smolvlm-256m"]
    default.hub.faults.clear()
    assert main(["fetch", "smolvlm-256m"]) == 0
    assert " yes " in listed(capsys)["smolvlm-256m"]


def test_fetch_shows_a_bar_and_the_folder(default: Fetcher, capsys: Capsys) -> None:
    assert main(["fetch", HUB_ID]) == 0
    printed = capsys.readouterr()
    assert str(default.complete()) in printed.out
    assert "100%" in printed.err
    assert "7.80M/7.80M" in printed.err


def test_fetch_makes_no_request_for_nano_and_for_bad_names(
    default: Fetcher, capsys: Capsys
) -> None:
    assert main(["fetch", "nano"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    for name in ("smolvlm", ".", "a/b/c"):
        assert main(["fetch", name]) == 1
        assert "neither a known model nor a hub id" in capsys.readouterr().err
    assert default.hub.requests == []


def test_check_compares_files_with_their_hashes(
    default: Fetcher, nano_dir: Path, capsys: Capsys
) -> None:
    blob = (default() / WEIGHTS_FILE).resolve()
    assert main(["check", HUB_ID]) == 0
    assert "complete, 7 files, 7 of them match their hashes" in capsys.readouterr().out
    assert main(["check", str(nano_dir)]) == 0
    assert "no hashes of them are known here" in capsys.readouterr().out
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("nano: complete")
    change_last_byte(blob)
    assert main(["check", HUB_ID]) == 1
    assert f"{WEIGHTS_FILE} does not match its hash" in capsys.readouterr().err
    assert main(["fetch", HUB_ID]) == 0
    assert main(["check", HUB_ID]) == 0
    # huggingface_hub can keep content that repositories share elsewhere, behind a second link.
    shared = default.cache / ("0" * 64)
    blob.rename(shared)
    blob.symlink_to(shared)
    assert main(["check", HUB_ID]) == 0
    assert main(["check", "smolvlm-2.2b"]) == 1
    assert "smolvlm-2.2b is not on this machine" in capsys.readouterr().err


def test_check_names_damaged_conversions(
    default: Fetcher,
    nano_dir: Path,
    tmp_path: Path,
    capsys: Capsys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def convert(folder: Path) -> None:
        (folder / "text.xml").write_bytes(b"<net/>")
        seal(folder)

    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path))
    entry = get_conversion(nano_dir, "float32", "openvino 1", convert, tmp_path).folder
    default()
    assert main(["check", "nano"]) == 0
    assert "Converted for OpenVINO: 1, all files match" in capsys.readouterr().out
    assert main(["check", HUB_ID]) == 0
    (entry / "text.xml").write_bytes(b"<boo/>")
    for names in ([], ["nano"], [str(nano_dir)]):
        capsys.readouterr()
        assert main(["check", *names]) == 1
        printed = capsys.readouterr()
        assert f"{entry} is damaged: text.xml" in printed.err
        assert "Converted for OpenVINO" not in printed.out
    shutil.rmtree(entry)
    assert main(["check"]) == 0
