"""`explain=estimate` and `alternatives` over another server, with log probabilities and without."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from remote_kit import engine_over
from upstream_server import Exchange, UpstreamServer

from tools.nano.scenes import make_frame
from vlm.engine.engine import Engine
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import JPEG, app_over, read_events, started

# A red square in the cell of row 1, column 2 of 4 x 4.
SCENE = Image.new("RGB", (80, 80), (20, 20, 220))
SCENE.paste((220, 0, 0), (40, 20, 60, 40))


def red_share(exchange: Exchange) -> float:
    """Return how much of the red square the picture of a request has."""
    part = next(
        each for each in exchange.body["messages"][-1]["content"] if each["type"] == "image_url"
    )
    data = base64.b64decode(part["image_url"]["url"].split(",", 1)[1])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    return float((pixels[..., 0] > 150).sum() / 400)


def say(exchange: Exchange) -> None:
    """Say what is there, without log probabilities."""
    for text in ("A red square", "."):
        exchange.text(text if red_share(exchange) > 0.5 else text.replace("red", "blue"))
    exchange.finish()


def say_with_logprobs(exchange: Exchange) -> None:
    """The word red is less likely without the square, and still the likeliest."""
    red = 0.9 if red_share(exchange) > 0.5 else 0.3
    for text, likely in (("A", 0.9), (" red", red), (" square", 0.8), (".", 1.0)):
        token = {"token": text, "logprob": math.log(likely), "bytes": None, "top_logprobs": []}
        exchange.text(text, logprobs={"content": [token]})
    exchange.finish()


def post(client: FlaskClient, image: Image.Image, **query: object) -> list[tuple[str, Any]]:
    out = io.BytesIO()
    image.save(out, "PNG")
    answer = client.post("/api/captions", query_string=query, data=out.getvalue(), headers=JPEG)
    return read_events(answer.text)


@pytest.mark.parametrize("behaviour", [say, say_with_logprobs])
def test_a_word_looked_where_it_is_lost(server: UpstreamServer, behaviour: Any) -> None:
    server.behaviour = behaviour
    with engine_over(server) as engine, started(Worker(lambda: engine, 4)) as worker:
        client = app_over(worker, Settings(engine="openai", witnesses="off")).test_client()
        events = post(client, SCENE, explain="estimate")
        assert [name for name, _ in events[-2:]] == ["looks", "done"]
        assert len(server.exchanges) == 17
        refused = client.post("/api/captions?explain=estimate&camera=a", data=b"x", headers=JPEG)
        assert refused.get_json()["error"]["code"] == "bad_request"
        direct = post(client, SCENE, explain=1)[-1]
        steps = post(client, SCENE, alternatives=2)[-1]
    looks = events[-2][1]
    assert (looks["grid"], looks["method"]) == ([4, 4], "occlusion")
    assert [each["text"] for each in looks["words"]] == ["A", "red", "square."]
    for word in looks["words"]:
        assert word["map"] == [255 * (word["text"] == "red" and at == 6) for at in range(16)]
    assert looks["words"][1]["probability"] == (1.0 if behaviour is say else pytest.approx(0.9))
    # What needs more than such a server gives says so.
    assert direct[1]["error"]["code"] == "not_supported"
    if behaviour is say:
        assert steps[1]["error"]["code"] == "not_supported"
    else:
        assert [each["text"] for each in steps[1]["tokens"]] == ["A", " red", " square", "."]


def test_a_client_that_leaves_ends_the_estimate(server: UpstreamServer) -> None:
    server.behaviour = say
    with engine_over(server) as engine, started(Worker(lambda: engine, 4)) as worker:
        client = app_over(worker, Settings(engine="openai", witnesses="off")).test_client()
        out = io.BytesIO()
        SCENE.save(out, "PNG")
        answer = client.post("/api/captions?explain=estimate", data=out.getvalue(), headers=JPEG)
        # Closed after the first event.
        next(iter(answer.response))
        answer.close()
        assert len(server.exchanges) < 17


def test_an_estimate_of_a_model_that_runs_here(engine: Engine) -> None:
    frame = next(
        each
        for each in (make_frame(seed, "test", "objects") for seed in range(99))
        if len(each.scene.objects) == 1
    )
    with started(Worker(lambda: engine, 4)) as worker:
        events = post(app_over(worker).test_client(), frame.image, explain="estimate")
    done = events[-1][1]
    looks = dict(events)["looks"]
    assert "".join(data["text"] for name, data in events if name == "token") == done["text"]
    (thing,) = frame.scene.objects
    word = next(each for each in looks["words"] if each["text"].strip(".") in thing.shape.split())
    row, column = divmod(int(np.argmax(word["map"])), 4)
    assert abs((column + 0.5) / 4 - thing.x) < 0.3 and abs((row + 0.5) / 4 - thing.y) < 0.3
