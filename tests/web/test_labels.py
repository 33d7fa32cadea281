"""`/api/labels` and `/api/aspects`: answers, bad input, and what cannot be scored."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from counting_runtime import counting
from tools.nano.language import with_article
from tools.nano.palette import COLOURS
from tools.nano.scenes import make_frame
from tools.nano.shapes import SHAPES
from vlm import labels as command
from vlm.engine.inputs import InputBuilder
from vlm.remote.engine import RemoteEngine
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import JPEG, app_over, picture, started

ALL = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)
LONG = "abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxy "


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return web_app.test_client()


@pytest.fixture(scope="module")
def scene() -> tuple[bytes, str]:
    """A picture of one thing, and its name."""
    frames = (make_frame(seed, "test", "objects") for seed in range(100))
    frame = next(each for each in frames if len(each.scene.objects) == 1)
    out = io.BytesIO()
    frame.image.save(out, "PNG")
    (item,) = frame.scene.objects
    return out.getvalue(), f"{item.colour} {item.shape}"


def post(client: FlaskClient, data: bytes, labels: str, **query: str) -> Any:
    """Ask with the labels as a field of a form."""
    form = {"image": (io.BytesIO(data), "frame.png"), "labels": labels}
    return client.post("/api/labels", data=form, query_string=query)


def test_the_right_label_comes_first(client: FlaskClient, scene: tuple[bytes, str]) -> None:
    data, name = scene
    told = post(client, data, "\n".join(ALL)).get_json()
    fields = {"labels", "none", "calibrated", "model", "rows", "passes", "total_s", "pair"}
    assert set(told) == fields and told["pair"] is None
    assert told["labels"][0]["label"] == name
    probabilities = [each["probability"] for each in told["labels"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) + (told["none"] or 0) == pytest.approx(1, abs=0.01)
    many = client.post(
        f"/api/labels?mode=many&labels={name},{ALL[7]},a unicorn|{name}", data=data, headers=JPEG
    ).get_json()
    assert [each["label"] for each in many["labels"][-1:]] == [ALL[7]]
    assert many["labels"][0]["probability"] > 0.9 > 0.1 > many["labels"][-1]["probability"]


def test_the_dual_encoder_answers_too(client: FlaskClient, scene: tuple[bytes, str]) -> None:
    data, name = scene
    labels = [*(each for each in ALL if each != name), f"nothing like it|{name}"]
    told = post(client, data, "\n".join(labels), pair="1").get_json()["pair"]
    assert told["model"] == "nano-pair" and told["total_s"] > 0
    assert told["labels"][0]["label"] == labels[-1]
    assert [each["label"] for each in told["labels"]] != labels
    assert {each["label"] for each in told["labels"]} == {*labels}
    refused = post(client, data, "a", pair="2")
    assert refused.status_code == 400 and "pair must be 0 or 1" in refused.text


def test_labels_of_any_text_are_answered(client: FlaskClient) -> None:
    cases: Sequence[tuple[str, int]] = (
        ("\n".join(f"{index:03}{LONG[3:]}"[:80] for index in range(200)), 200),
        ("red star,red,star,red star,red star ", 3),
        ("🟥⭐,<image>,<end_of_utterance>,{thing},%s,|,a||b", 6),
        ("\u0007bell\ttab,кот,猫", 3),
        (" one label ", 1),
    )
    for labels, count in cases:
        answer = post(client, picture("PNG"), labels)
        assert answer.status_code == 200, answer.text
        assert len(answer.get_json()["labels"]) == count


def test_bad_labels_are_refused(client: FlaskClient) -> None:
    cases = (
        (" , |,\n", "at least one"),
        (",".join(map(str, range(201))), "201 labels"),
        ("ok," + "x" * 81, "81 characters"),
    )
    for labels, words in cases:
        answer = post(client, picture("PNG"), labels)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (400, "bad_request")
        assert words in answer.get_json()["error"]["message"]
    assert client.post("/api/labels", data=picture(), headers=JPEG).status_code == 400
    for field in ("mode=some", "detail=huge", "camera=a/b"):
        answer = client.post(f"/api/labels?labels=a&{field}", data=picture(), headers=JPEG)
        assert answer.status_code == 400, field
    assert client.post("/api/labels?labels=a", data=b"no picture").status_code in (400, 415)


def test_aspects_are_those_of_the_scene(client: FlaskClient) -> None:
    dark = io.BytesIO()
    make_frame(3, "test", "dark").image.save(dark, "PNG")
    told = client.post("/api/aspects", data=dark.getvalue(), headers=JPEG).get_json()
    first = {each["id"]: each["labels"][0]["label"] for each in told["aspects"]}
    assert first == {"scene": "dark", "light": "dim", "count": "not to be told"} | first
    for each in told["aspects"]:
        assert sum(one["probability"] for one in each["labels"]) == pytest.approx(1, abs=0.01)


def test_a_model_that_scores_nothing_says_so(nano_dir: Path) -> None:
    engine, runtime = counting(nano_dir)
    runtime.capabilities = frozenset()
    settings = Settings(engine="openai", base_url=("http://127.0.0.1:9",))
    for each in (engine, _Remote(settings)):
        with started(Worker(lambda engine=each: engine, 4)) as worker:  # type: ignore[misc]
            answer = app_over(worker).test_client().post("/api/aspects", data=picture())
            assert answer.status_code == 501
            assert answer.get_json()["error"]["code"] == "not_supported"


class _Remote(RemoteEngine):
    """Not opened: it refuses before it sends anything."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.info = self._info_of("some-model")


def test_answers_are_tokenised_as_in_a_chat(nano_dir: Path, smolvlm_dir: Path) -> None:
    for folder in (nano_dir, smolvlm_dir):
        builder = InputBuilder.load(folder)
        prompt = builder.chat_ids((("user", ("What is this?",)),))
        for text in (*map(with_article, ALL[::9]), "Yes", "🟥 <image>", "12.5 %"):
            turns = (("user", ("What is this?",)), ("assistant", (text,)))
            whole = builder.chat_ids(turns, end="final_text")  # type: ignore[arg-type]
            assert whole == (*prompt, *builder.answer_ids(text)), text


def test_the_command_prints_labels_and_aspects(
    scene: tuple[bytes, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, name = scene
    file = tmp_path / "frame.png"
    file.write_bytes(data)
    asked = [str(file), "--model", "nano"]
    assert command.main([*asked, "--json", "--labels", f"{name},a cow"], {}) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["model"], told["files"][0]["labels"][0]["label"]) == ("nano", name)
    assert command.main([*asked, "--aspects"], {}) == 0
    assert "count" in capsys.readouterr().out
    assert command.main([*asked, "--labels", ","], {}) == 1
    assert "at least one" in capsys.readouterr().err


def test_the_picture_may_be_of_any_size(client: FlaskClient) -> None:
    out = io.BytesIO()
    Image.new("RGB", (1, 1)).save(out, "PNG")
    assert post(client, out.getvalue(), "a dot,b").status_code == 200
