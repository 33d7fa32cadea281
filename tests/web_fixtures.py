"""Fixtures of the web tests: one worker over the bundled model, which tests leave idle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tools.random_checkpoint import make_random
from vlm.engine.engine import Engine
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import app_over, started


@pytest.fixture(scope="session")
def web_worker(engine: Engine) -> Iterator[Worker]:
    """A running worker over the bundled model; leave it idle."""
    with started(Worker(lambda: engine, Settings.max_queue)) as worker:
        yield worker


@pytest.fixture
def web_app(web_worker: Worker) -> Flask:
    """The whole web application over the bundled model."""
    return app_over(web_worker)


@pytest.fixture(scope="session")
def endless_dir(nano_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the bundled shape with random weights, whose answers never end early."""
    folder = tmp_path_factory.mktemp("random") / "endless"
    make_random(nano_dir, folder)
    return folder
