"""Laws of `python -m vlm.models list|fetch|check`; `random`'s are in test_checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fetcher import HUB_ID, Fetcher
from huggingface_hub import constants

from hub_server import Fault
from vlm.checkpoints.catalogue import KNOWN_MODELS
from vlm.checkpoints.files import WEIGHTS_FILE
from vlm.models.__main__ import main
from vlm.runtimes.openvino.cache import get_conversion, seal

KNOWN_ID = "HuggingFaceTB/SmolVLM-256M-Instruct"


@pytest.fixture
def ordinary(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetcher]:
    """`fetcher` whose hub and cache are those that the environment names."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(fetcher.cache))
    monkeypatch.setattr(constants, "ENDPOINT", fetcher.hub.url)
    fetcher.hub.repositories[KNOWN_ID] = fetcher.hub.repositories[HUB_ID]
    yield fetcher


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert main(["list"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["MODEL", "DOWNLOAD", "MEMORY", "HERE", "GOOD", "FOR"]
    return {row.split()[0]: row for row in rows}


def test_every_known_model_is_listed_with_what_is_here(
    ordinary: Fetcher, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = listed(capsys)
    assert list(rows) == [model.name for model in KNOWN_MODELS]
    assert " yes " in rows["nano"]
    assert "517 MB" in rows["smolvlm-256m"]
    assert " no " in rows["smolvlm-256m"]
    assert main(["fetch", "smolvlm-256m"]) == 0
    capsys.readouterr()
    assert " yes " in listed(capsys)["smolvlm-256m"]


def test_what_is_here_in_part_is_listed_so(
    ordinary: Fetcher, capsys: pytest.CaptureFixture[str]
) -> None:
    ordinary.hub.faults += [Fault(cut_after_bytes=3_000_000, times=1), Fault(status=404, spared=2)]
    assert main(["fetch", "smolvlm-256m"]) == 1
    assert "404" in capsys.readouterr().err
    assert " 3 MB " in listed(capsys)["smolvlm-256m"]


def test_a_hub_id_is_fetched_with_a_bar(
    ordinary: Fetcher, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", HUB_ID]) == 0
    told = capsys.readouterr()
    assert str(ordinary.complete()) in told.out
    assert "100%" in told.err
    assert "7.80M/7.80M" in told.err


def test_nano_needs_no_fetching(ordinary: Fetcher, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "nano"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    assert ordinary.hub.requests == []


@pytest.mark.parametrize("name", ["smolvlm", ".", "a/b/c"])
def test_what_is_no_hub_id_is_refused(
    ordinary: Fetcher, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["fetch", name]) == 1
    assert "neither a known model nor a hub id" in capsys.readouterr().err
    assert ordinary.hub.requests == []


def test_whole_models_pass_the_check(
    ordinary: Fetcher, nano_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ordinary()
    assert main(["check", HUB_ID]) == 0
    assert "complete, 7 files, 7 of them match their hashes" in capsys.readouterr().out
    assert main(["check", str(nano_dir)]) == 0
    assert "no hashes of them are known here" in capsys.readouterr().out
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("nano: complete")


def test_a_changed_byte_fails_the_check(
    ordinary: Fetcher, capsys: pytest.CaptureFixture[str]
) -> None:
    blob = (ordinary() / WEIGHTS_FILE).resolve()
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert main(["check", HUB_ID]) == 1
    assert f"{WEIGHTS_FILE} does not match its hash" in capsys.readouterr().err
    assert main(["fetch", HUB_ID]) == 0
    assert main(["check", HUB_ID]) == 0


def test_check_names_damaged_conversions(
    ordinary: Fetcher,
    nano_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def convert(folder: Path) -> None:
        (folder / "text.xml").write_bytes(b"<net/>")
        seal(folder)

    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path))
    entry = get_conversion(nano_dir, "float32", "openvino 1", convert, tmp_path).folder
    ordinary()
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


def test_content_that_repositories_share_passes_the_check(ordinary: Fetcher) -> None:
    blob = (ordinary() / WEIGHTS_FILE).resolve()
    shared = ordinary.cache / ("0" * 64)
    blob.rename(shared)
    blob.symlink_to(shared)
    assert main(["check", HUB_ID]) == 0


def test_what_is_not_here_fails_the_check(
    ordinary: Fetcher, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "smolvlm-2.2b"]) == 1
    assert "smolvlm-2.2b is not on this machine" in capsys.readouterr().err
