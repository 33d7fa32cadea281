"""Environments for clients of other projects, and a server of its own for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from client_programs import Environments

from tools.nano.scenes import make_frame
from web_client import SightlineProcess


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Environments:
    """Makes each environment once, in a temporary folder."""
    return Environments(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="session")
def served_port() -> Iterator[int]:
    """The port of a server with the bundled model, as users start it."""
    with SightlineProcess(["--model", "nano", "--offline"]) as server:
        server.wait_until_ready()
        yield server.port


@pytest.fixture(scope="session")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of shapes that the bundled model knows."""
    file = tmp_path_factory.mktemp("scene") / "scene.jpg"
    make_frame(3, "test").image.save(file, "JPEG", quality=90)
    return file
