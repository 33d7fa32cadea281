"""`/api/hiding` and `/api/patches`: a word without its region, patches alike, and bad input."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from counting_runtime import counting
from tools.nano.scenes import Frame, make_frame
from tools.nano.shapes import SHAPES
from vlm.prompts import DEFAULT_PROMPT
from vlm.remote.engine import RemoteEngine
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import JPEG, app_over, picture, read_events, started

TEXT = "A red star and a blue ring."


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return web_app.test_client()


@pytest.fixture(scope="module")
def scene() -> Frame:
    """A scene of one large thing."""
    frames = (make_frame(seed, "test", "objects") for seed in range(200))
    return next(
        each
        for each in frames
        if len(each.scene.objects) == 1 and (each.labels.shape > 0).mean() > 0.06
    )


def post(client: FlaskClient, path: str, image: Image.Image, **query: object) -> Any:
    answer = client.post(f"/api/{path}", query_string=query, data=png(image), headers=JPEG)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def test_a_word_is_less_likely_without_what_it_looked_at(client: FlaskClient, scene: Frame) -> None:
    (thing,) = scene.scene.objects
    data = png(scene.image)
    done = read_events(client.post("/api/captions?sure=1", data=data, headers=JPEG).text)[-1][1]
    text, name = done["text"], thing.shape.split()[0]
    word = next(each for each in done["sure"]["words"] if each["text"].strip(".,") == name)
    place = {"text": text, "start": word["start"], "end": word["end"]}
    told = post(client, "hiding", scene.image, prompt=DEFAULT_PROMPT, **place)
    assert set(told) == {"before", "after", "cells", "grid", "total_s"}
    assert told["grid"] == [8, 8]
    here = scene.labels.shape == 1 + SHAPES.index(thing.shape)
    things = here.reshape(8, here.shape[0] // 8, 8, -1).any((1, 3)).ravel()
    assert 0 < len(told["cells"]) < 32 and any(things[cell] for cell in told["cells"])
    assert told["before"] == pytest.approx(word["probability"], abs=0.05)
    assert told["after"] < told["before"]
    # The same by its cells; and without anything of the picture it is guessed.
    cells = ",".join(map(str, told["cells"]))
    again = post(client, "hiding", scene.image, cells=cells, **place)
    assert (again["before"], again["after"]) == pytest.approx(
        (told["before"], told["after"]), abs=1e-3
    )
    every = ",".join(map(str, range(64)))
    assert post(client, "hiding", scene.image, cells=every, **place)["after"] < 0.5 * told["before"]


def test_patches_alike_are_those_of_the_thing(client: FlaskClient, scene: Frame) -> None:
    here = scene.labels.shape == 1 + SHAPES.index(scene.scene.objects[0].shape)
    rows, columns = np.nonzero(here)
    middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    y, x = (rows[middle] + 0.5) / len(here), (columns[middle] + 0.5) / here.shape[1]
    told = post(client, "patches", scene.image, x=x, y=y)
    assert set(told) == {"grid", "map", "size_px", "tiles", "tokens", "total_s"}
    assert (told["grid"], told["size_px"]) == ([16, 16], [192, 192])
    assert (told["tiles"], told["tokens"]) == (1, 64)
    found = np.reshape(told["map"], told["grid"])
    assert found.max() == found[int(y * 16), int(x * 16)] == 255
    cells = here.reshape(16, here.shape[0] // 16, 16, here.shape[1] // 16).mean((1, 3))
    assert found[cells == 1].min() > np.median(found[cells == 0])
    corner = post(client, "patches", scene.image, x=1, y=1.0)
    assert corner["map"][-1] == 255
    small = post(client, "patches", scene.image, x=x, y=y, detail="tiny")
    assert (small["grid"], small["tokens"]) == ([8, 8], 16)
    one = post(client, "patches", Image.new("RGB", (1, 1)), x=0, y="1e-3")
    assert len(one["map"]) == 256


def test_bad_fields_are_refused(client: FlaskClient) -> None:
    place = {"text": TEXT, "start": "2", "end": "5"}
    cases: tuple[tuple[str, dict[str, str], str], ...] = (
        ("patches", {"x": ""}, "x must be"),
        ("patches", {"x": "0.5", "y": "a"}, "y must be"),
        *(("patches", {"x": x, "y": "0"}, "x must be") for x in ("nan", "1.01", "-1", "1_0", " 1")),
        ("patches", {"x": "0", "y": "0", "detail": "huge"}, "detail must be"),
        ("hiding", {"start": "0", "end": "1"}, "text must be"),
        ("hiding", {**place, "text": " \n"}, "text must be"),
        ("hiding", {"text": TEXT, "end": "1"}, "start must be"),
        ("hiding", {**place, "end": "x"}, "end must be"),
        ("hiding", {**place, "end": "2"}, "place in text"),
        ("hiding", {**place, "end": "28"}, "place in text"),
        ("hiding", {**place, "end": "1000000000"}, "end must be"),
        ("hiding", {"text": TEXT, "start": "1", "end": "2"}, "no word"),
        ("hiding", {**place, "cells": ""}, "cells must be"),
        ("hiding", {**place, "cells": "1,a"}, "cells must be"),
        ("hiding", {**place, "cells": "64"}, "8 x 8 cells"),
        ("hiding", {**place, "cells": ",".join(map(str, range(5000)))}, "5000 numbers"),
        ("hiding", {**place, "turns": "9"}, "turns must be"),
        ("hiding", {**place, "text": "long " * 6000}, "Prompt, image and answer"),
    )
    for path, query, words in cases:
        # Long ones do not fit into an address.
        is_long = sum(map(len, query.values())) > 2000
        form = {"image": (io.BytesIO(picture("PNG")), "frame.png"), **(query if is_long else {})}
        answer = client.post(f"/api/{path}", data=form, query_string=None if is_long else query)
        assert answer.status_code == 400, (query, answer.text)
        assert words in answer.get_json()["error"]["message"], query


def test_any_answer_has_words_to_hide(client: FlaskClient, scene: Frame) -> None:
    for text, start, end in (
        ("  A star. ", 4, 8),
        ("🟥⭐ <image> star", 3, 10),
        ("Yes.", 0, 4),
        ("one  two\nthree", 5, 8),
        ("кот я", 4, 5),
    ):
        told = post(client, "hiding", scene.image, text=text, start=start, end=end)
        assert 0 <= told["before"] <= 1 and told["grid"] == [8, 8], text


def test_a_model_that_cannot_says_so(nano_dir: Path) -> None:
    engine, runtime = counting(nano_dir)
    runtime.capabilities = frozenset()
    remote = RemoteEngine(Settings(engine="openai", base_url=("http://127.0.0.1:9",)))
    remote.info = remote._info_of("some-model")
    for each in (engine, remote):
        with started(Worker(lambda engine=each: engine, 4)) as worker:  # type: ignore[misc]
            client = app_over(worker).test_client()
            for path in (f"hiding?text={TEXT}&start=2&end=5", "patches?x=0&y=0"):
                answer = client.post(f"/api/{path}", data=picture(), headers=JPEG)
                assert answer.status_code == 501, answer.text
                assert answer.get_json()["error"]["code"] == "not_supported"
