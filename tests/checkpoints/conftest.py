"""A hub with a small model and an empty cache, for the tests of downloads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from fetcher import HUB_ID, TOKEN, Fetcher, assert_nothing_half
from huggingface_hub import constants

from hub_server import HubServer
from vlm.network.certificates import CERTIFICATE_VARIABLES

NOT_NEEDED = {
    "README.md": b"# A model",
    "pytorch_model.bin": b"\x80\x04.",
    "modeling_evil.py": b"raise SystemExit",
    "vocab.json": b"{}",
    "adapter.safetensors": b"not ours",
    "onnx/model.onnx": b"onnx",
    "onnx/config.json": b"{}",
}


@pytest.fixture
def repository(nano_dir: Path, tmp_path: Path) -> Path:
    """The bundled model, with other files as repositories have them."""
    folder = tmp_path / "repository"
    shutil.copytree(nano_dir, folder)
    (folder / "onnx").mkdir()
    for name, content in NOT_NEEDED.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def clean_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment without proxies and certificates, and connections of the test's own."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name in CERTIFICATE_VARIABLES:
            monkeypatch.delenv(name)
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()


@pytest.fixture
def hub(
    repository: Path, clean_network: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HubServer]:
    """A hub that serves `repository` as HUB_ID."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("vlm.checkpoints.hub._RETRY_AFTER_S", 0.05)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with HubServer({HUB_ID: repository}) as server:
        yield server


@pytest.fixture
def fetcher(hub: HubServer, tmp_path: Path) -> Iterator[Fetcher]:
    """Downloads from `hub` into a cache that is empty at first and consistent at the end."""
    fetcher = Fetcher(hub, tmp_path / "hub")
    yield fetcher
    assert_nothing_half(fetcher.cache)
