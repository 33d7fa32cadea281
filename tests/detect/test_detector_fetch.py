"""A detector is downloaded like a model: only what it needs, once, checked, never if offline."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from detector_kit import make_owlv2
from huggingface_hub import constants
from PIL import Image

from hub_server import Fault, HubServer
from vlm.checkpoints.detectors import HUB_DETECTORS
from vlm.checkpoints.hub import FetchProgress
from vlm.checkpoints.hub_models import complete_folder
from vlm.detect.detector import load_detector
from vlm.errors import CheckpointError, FetchError, OfflineError
from vlm.models.__main__ import main as models_main

OWLV2, GROUNDING_DINO = HUB_DETECTORS
NOT_NEEDED = ("README.md", "pytorch_model.bin", "modeling_evil.py", "onnx/model.onnx")


@pytest.fixture
def repository(owlv2_folder: Path, tmp_path: Path) -> Path:
    """A small OWLv2, with other files as repositories have them."""
    folder = tmp_path / "repository"
    shutil.copytree(owlv2_folder, folder)
    (folder / "onnx").mkdir()
    for name in NOT_NEEDED:
        (folder / name).write_bytes(b"raise SystemExit")
    return folder


@pytest.fixture
def hub(
    repository: Path,
    grounding_dino_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[HubServer]:
    """A hub with both detectors, and an empty cache."""
    for name in [each for each in os.environ if each.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    huggingface_hub.close_session()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("vlm.checkpoints.hub._RETRY_AFTER_S", 0.05)
    repositories = {OWLV2.hub_id: repository, GROUNDING_DINO.hub_id: grounding_dino_folder}
    with HubServer(repositories) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        yield server
    huggingface_hub.close_session()


def test_a_detector_is_downloaded_once_and_then_needs_no_hub(
    hub: HubServer, caplog: pytest.LogCaptureFixture
) -> None:
    progress: list[FetchProgress] = []
    with caplog.at_level(logging.INFO, "sightline"):
        detector = load_detector("owlv2-base", on_progress=progress.append)
    assert progress[-1].received_bytes == progress[-1].total_bytes > 0
    assert [record.message for record in caplog.records] == [
        "Downloading the detector OWLv2 base, about 0.6 GB."
    ]
    asked = " ".join(request.path for request in hub.requests)
    assert not any(name in asked for name in NOT_NEEDED)
    before = len(hub.requests)
    again = load_detector("owlv2-base", offline=True)
    assert len(hub.requests) == before
    image = Image.effect_noise((64, 48), 90).convert("RGB")
    assert again.detect(image, ["cup"]) == detector.detect(image, ["cup"])


def test_offline_no_detector_is_downloaded(hub: HubServer) -> None:
    with pytest.raises(OfflineError, match="OWLv2 base is not on this machine"):
        load_detector("owlv2-base", offline=True)
    assert hub.requests == []


def test_a_download_that_fails_says_why_and_is_resumed(hub: HubServer) -> None:
    hub.faults += [Fault(cut_after_bytes=1_000_000, times=1), Fault(status=404, spared=2)]
    with pytest.raises(FetchError, match="404"):
        load_detector("owlv2-base")
    assert complete_folder(OWLV2) is None
    hub.faults.clear()
    load_detector("owlv2-base")
    assert hub.requests_for("model.safetensors")[-1].first_byte == 1_000_000


def test_a_download_can_be_cancelled(hub: HubServer) -> None:
    with pytest.raises(FetchError, match="cancelled"):
        load_detector("owlv2-base", is_cancelled=lambda: True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", json.dumps({"architectures": ["Other"]}), "is not of OWLv2 base"),
        ("config.json", json.dumps({"model_type": "owlv2"}), "is not of OWLv2 base"),
        ("config.json", None, "has no config.json. Weights are read from safetensors"),
        ("model.safetensors", None, "holds pickled weights"),
        ("merges.txt", None, "merges.txt or tokenizer.json is missing"),
        ("preprocessor_config.json", None, "preprocessor_config.json or .* is missing"),
    ],
)
def test_another_repository_is_refused(
    hub: HubServer, repository: Path, name: str, content: str | None, message: str
) -> None:
    if content is None:
        (repository / name).unlink()
    else:
        (repository / name).write_text(content)
    with pytest.raises(CheckpointError, match=message) as raised:
        load_detector("owlv2-base")
    assert str(repository) not in str(raised.value)
    if name == "config.json":
        assert not hub.requests_for("model.safetensors")


def test_the_command_of_the_models_fetches_a_detector(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert models_main(["fetch", "grounding-dino-tiny"]) == 0
    assert str(complete_folder(GROUNDING_DINO)) in capsys.readouterr().out
    assert models_main(["fetch", "nanodet"]) == 0
    assert "nothing to fetch" in capsys.readouterr().out


def test_an_incomplete_copy_is_not_complete(hub: HubServer, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / f"models--{OWLV2.hub_id.replace('/', '--')}" / "snapshots" / "1"
    make_owlv2(snapshot)
    assert complete_folder(OWLV2) == snapshot
    weights = snapshot / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert complete_folder(OWLV2) is None
