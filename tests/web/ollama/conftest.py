"""A real server with the bundled model, and a client without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from ollama_kit import CHAT, chat_body
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import app_over, served


@pytest.fixture(scope="session")
def ollama_port(web_worker: Worker) -> Iterator[int]:
    """The port of a server with the bundled model; leave it idle."""
    with served(web_worker, Settings()) as (port, _):
        yield port


@pytest.fixture(scope="module")
def web(web_worker: Worker) -> Iterator[FlaskClient]:
    """A client of the application; at the end the application must still answer."""
    client = app_over(web_worker).test_client()
    yield client
    answer = client.post(CHAT, json=chat_body())
    assert answer.status_code == 200, answer.text
