"""One real server over the bundled model, and OpenAI's own client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chat_kit import client_of
from openai import OpenAI

from vlm.settings import Settings
from vlm.worker import Worker
from web_client import served


@pytest.fixture(scope="session")
def api_port(web_worker: Worker) -> Iterator[int]:
    """Where a server with the bundled model listens; leave it idle."""
    with served(web_worker, Settings()) as (port, _):
        yield port


@pytest.fixture(scope="session")
def client(api_port: int) -> Iterator[OpenAI]:
    """OpenAI's client of that server, which tries each request once."""
    with client_of(api_port) as client:
        yield client
