"""`/api/hiding`, `/api/patches` and `/api/where`: what they find, and bad input."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image, ImageOps

from counting_runtime import counting
from photographs import photograph
from tools.evals.truth.places import boxes_in, iou_of
from tools.nano.scenes import Frame, make_frame
from tools.nano.shapes import SHAPES
from vlm.engine.engine import Engine
from vlm.prompts import DEFAULT_PROMPT
from vlm.remote.engine import RemoteEngine
from vlm.scheduler.queue import Stream
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import Request
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
            for path in (
                f"hiding?text={TEXT}&start=2&end=5",
                "patches?x=0&y=0",
                "where?phrase=star",
            ):
                answer = client.post(f"/api/{path}", data=picture(), headers=JPEG)
                assert answer.status_code == 501, answer.text
                assert answer.get_json()["error"]["code"] == "not_supported"


def boxes(client: FlaskClient, image: Image.Image, phrase: str) -> list[dict[str, Any]]:
    told = post(client, "where", image, phrase=phrase)
    assert set(told) == {"boxes", "known", "total_s"}
    for each in told["boxes"]:
        x0, y0, x1, y1 = each["box"]
        assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1 and 0 < each["score"] <= 1
    found: list[dict[str, Any]] = told["boxes"]
    return found


def test_a_thing_that_is_there_has_a_box_and_others_have_none(client: FlaskClient) -> None:
    frames = [make_frame(seed, "test", "objects") for seed in range(40, 48)]
    right, mirrored = [], []
    for frame in frames:
        for name, truth in boxes_in(frame):
            found = boxes(client, frame.image, f" the {name}?")
            right.append(bool(found) and iou_of(found[0]["box"], truth) > 0.5)
            other = boxes(client, ImageOps.mirror(frame.image), name)
            if found and other:
                assert found[0]["by"] == "features"
                # A mirrored frame mirrors the box, within a token.
                x0, y0, x1, y1 = found[0]["box"]
                box = [1 - x1, y0, 1 - x0, y1]
                mirrored.append(other[0]["box"] == pytest.approx(box, abs=0.126))
    assert len(right) > 8 and sum(right) >= 0.8 * len(right)
    assert len(mirrored) > 8 and sum(mirrored) >= 0.9 * len(mirrored)
    blank = make_frame(3, "test", "empty").image
    assert boxes(client, blank, "red star") == boxes(client, blank, "green moon") == []


def test_the_detector_knows_some_names(client: FlaskClient) -> None:
    cat = photograph("chelsea")
    (first,) = boxes(client, cat, "a cat")
    x0, y0, x1, y1 = first["box"]
    assert (first["by"], x0 < 0.4, x1 > 0.6, y0 < 0.4, y1 > 0.6) == ("detector", *[True] * 4)
    assert boxes(client, cat, "dog") == []


def test_words_that_the_model_was_not_taught_have_no_box(client: FlaskClient) -> None:
    image = png(make_frame(43, "test", "objects").image)
    for phrase, known in (("zebra", False), ("a red dragon", False), ("Red stars!", True)):
        answer = client.post(
            "/api/where", query_string={"phrase": phrase}, data=image, headers=JPEG
        ).get_json()
        assert answer["known"] == known, phrase
        assert known or answer["boxes"] == [], phrase


def test_phrases_of_any_text_are_answered_or_refused(client: FlaskClient) -> None:
    image = Image.new("RGB", (1, 1))
    for phrase in ("a", "THE  the", "<image> star", "кот", "200 %", "x" * 80, "\u0007bell"):
        boxes(client, image, phrase)
    for phrase in ("", " \t", "🟥", "?!", "x" * 81, "\ufffd", "the the " * 20):
        answer = client.post(
            "/api/where", query_string={"phrase": phrase}, data=png(image), headers=JPEG
        )
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "bad_request")


class MeddlingWorker(Worker):
    """Does something before the second request that it gets."""

    def __init__(self, engine: Engine, meddle: Callable[[Worker], None]) -> None:
        super().__init__(lambda: engine, 4)
        self._meddle = meddle
        self._requests = 0

    def submit(self, request: Request) -> Stream:
        self._requests += 1
        if self._requests == 2:
            self._meddle(self)
        return super().submit(request)


def test_what_happens_between_two_steps_of_a_request(
    client: FlaskClient, nano_dir: Path, scene: Frame
) -> None:
    (thing,) = scene.scene.objects
    text = f"A {thing.colour} {thing.shape}."
    asked = {
        "where": {"phrase": f"{thing.colour} {thing.shape}"},
        "hiding": {"text": text, "start": 2, "end": len(text)},
    }
    usual = {path: post(client, path, scene.image, **query) for path, query in asked.items()}
    for path, query in asked.items():
        engine, _ = counting(nano_dir, name="nano")
        # The frame is evicted: it is encoded once more.
        with started(MeddlingWorker(engine, lambda _, engine=engine: engine.close())) as worker:  # type: ignore[misc]
            told = post(app_over(worker).test_client(), path, scene.image, **query)
        for name, value in usual[path].items():
            if name == "boxes":
                assert [each["box"] for each in told[name]] == [each["box"] for each in value]
            elif name != "total_s":
                assert told[name] == pytest.approx(value, abs=1e-3)
        # The model is changed: two of them do not make one answer.
        other, _ = counting(nano_dir, name="other")
        with started(MeddlingWorker(engine, lambda each, to=other: each.replace(to))) as worker:  # type: ignore[misc]
            answer = (
                app_over(worker)
                .test_client()
                .post(f"/api/{path}", query_string=query, data=png(scene.image), headers=JPEG)
            )
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (409, "switching")
