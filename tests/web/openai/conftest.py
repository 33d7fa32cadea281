"""A real server with the bundled model, and OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from openai import OpenAI

from chat_kit import CHAT, chat_body, client_of
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import app_over, served


@pytest.fixture(scope="session")
def api_port(web_worker: Worker) -> Iterator[int]:
    """The port of a server with the bundled model; leave it idle."""
    with served(web_worker, Settings()) as (port, _):
        yield port


@pytest.fixture(scope="session")
def client(api_port: int) -> Iterator[OpenAI]:
    """OpenAI's client for that server; it never retries."""
    with client_of(api_port) as client:
        yield client


@pytest.fixture(scope="module")
def web(web_worker: Worker) -> Iterator[FlaskClient]:
    """A client of the application; at the end the application must still answer."""
    client = app_over(web_worker).test_client()
    yield client
    answer = client.post(CHAT, json=chat_body(max_tokens=1))
    assert answer.status_code == 200, answer.text
