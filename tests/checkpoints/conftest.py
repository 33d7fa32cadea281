"""What the tests of fetching share: a hub with a small model, and an empty cache."""

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

# What other engines' repositories hold as well, and what is never to be asked for.
NOT_NEEDED = {
    "README.md": b"# A model",
    "pytorch_model.bin": b"\x80\x04.",
    "modeling_evil.py": b"raise SystemExit",
    "vocab.json": b"{}",
}


@pytest.fixture
def repository(nano_dir: Path, tmp_path: Path) -> Path:
    """A folder as repositories are: the bundled model, and much that it does not need."""
    folder = tmp_path / "repository"
    shutil.copytree(nano_dir, folder)
    for name, content in NOT_NEEDED.items():
        (folder / name).write_bytes(content)
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"onnx")
    (folder / "onnx" / "config.json").write_text("{}")
    return folder


@pytest.fixture(scope="session")
def one_session() -> Iterator[None]:
    """huggingface_hub's own, which takes a tenth of a second to make, without a proxy."""
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()


@pytest.fixture
def new_session() -> Iterator[None]:
    """One that heeds the proxies that a test names."""
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()


@pytest.fixture
def hub(
    repository: Path, one_session: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[HubServer]:
    """A hub that serves `repository` as HUB_ID."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("vlm.checkpoints.hub._AGAIN_AFTER_S", 0.05)
    for name in [each for each in os.environ if each.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with HubServer({HUB_ID: repository}) as server:
        yield server


@pytest.fixture
def fetcher(hub: HubServer, tmp_path: Path) -> Iterator[Fetcher]:
    """Fetches from `hub` into an empty cache, which must hold nothing half at the end."""
    fetcher = Fetcher(hub, tmp_path / "hub")
    yield fetcher
    assert_nothing_half(fetcher.cache)
