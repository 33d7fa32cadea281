"""Requests of one client leave memory and processor time to others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from chat_kit import CHAT, JSON, chat_body, question
from vlm.images import jpeg
from vlm.models.manager import Models
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web.app import create_app
from web.streaming import MAX_HELD_BYTES, ORDINARY_BYTES, Admission
from web.wsgi import ON_HANG_UP
from web_client import JPEG, picture

PICTURE = picture()
LARGE = PICTURE + bytes(ORDINARY_BYTES + 1 - len(PICTURE))


def chat_about(data: bytes) -> dict[str, Any]:
    body = chat_body(messages=question(data), max_tokens=1)
    return {"path": CHAT, "data": json.dumps(body), "headers": JSON}


def requests_of(data: bytes) -> list[dict[str, Any]]:
    paths = ("/api/captions?max_tokens=1", "/api/boxes")
    return [*({"path": path, "data": data, "headers": JPEG} for path in paths), chat_about(data)]


def statuses(client: FlaskClient, data: bytes, **options: Any) -> list[int]:
    return [client.post(**sent, **options).status_code for sent in requests_of(data)]


def test_large_requests_are_bounded_together_and_ordinary_ones_always_accepted(
    web_worker: Worker,
) -> None:
    models = Models(Settings(), web_worker)
    admission = Admission(64)
    client = create_app(Settings(), models, admission).test_client()
    # What is decoded counts like what was sent: 2,048 x 1,024 pixels in a few kilobytes.
    many_pixels = picture(size=(2048, 1024))
    for size, expected in ((MAX_HELD_BYTES, 503), (0, 200)):
        with admission.place() as place:
            place.hold(size)
            assert statuses(client, PICTURE) == [200] * 3
            assert statuses(client, LARGE) == [expected] * 3
            assert statuses(client, many_pixels) == [expected] * 3
    assert (admission.in_flight, admission.held_bytes) == (0, 0)
    models.finder.close()


def test_pictures_of_a_client_that_has_left_are_not_decoded(
    web_worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[object] = []
    monkeypatch.setattr(jpeg, "decode", lambda *given: decoded.append(given))
    models = Models(Settings(), web_worker)
    client = create_app(Settings(), models).test_client()
    has_left = {ON_HANG_UP: lambda callback: callback()}
    assert 200 not in statuses(client, PICTURE, environ_overrides=has_left)
    assert decoded == []
    models.finder.close()
