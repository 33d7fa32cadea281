"""Captions of photographs by nano and the object finder: a real server, by both APIs."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from openai import OpenAI

from chat_kit import client_of, question
from photographs import photograph_bytes
from tools.nano.scenes import make_frame
from web_client import HANG_GUARD_S, SightlineProcess, ask, read_events
from worker_kit import wait_until

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def process() -> Iterator[SightlineProcess]:
    """A first start without a network: nano and the small models."""
    env = {"SIGHTLINE_LOG_REQUESTS": "on"}
    with SightlineProcess(["--model", "nano", "--offline"], env) as process:
        process.wait_until_ready()
        yield process


def drawing() -> bytes:
    out = io.BytesIO()
    make_frame(3, "test").image.save(out, "PNG")
    return out.getvalue()


def caption(port: int, image: bytes, **fields: str) -> list[tuple[str, dict[str, object]]]:
    path = f"/api/captions?{urlencode(fields)}"
    status, _, body = ask(port, "POST", path, image, PNG)
    assert status == 200, body
    return read_events(body)


def test_a_photograph_is_captioned_by_the_finder_and_a_drawing_by_nano(
    process: SightlineProcess,
) -> None:
    *tokens, (name, done) = caption(process.port, photograph_bytes("chelsea"))
    assert [data["text"] for _, data in tokens] == ["Perhaps", " a", " cat."]
    assert (name, done["text"], done["finish_reason"]) == ("done", "Perhaps a cat.", "stop")
    assert done["stats"]["by"] == "finder"  # type: ignore[index]
    assert done["stats"]["checks"] == []  # type: ignore[index]
    drawn = caption(process.port, drawing())[-1][1]
    assert drawn["stats"]["by"] == "model"  # type: ignore[index]
    assert "Perhaps" not in str(drawn["text"])


def test_what_the_words_of_the_model_looked_at_is_told_before_the_end(
    process: SightlineProcess,
) -> None:
    plain = caption(process.port, drawing())[-1][1]["text"]
    for fields in ({}, {"sure": "1"}, {"claims": "strict", "preset": "detailed"}):
        *_, (name, looks), (_, done) = caption(process.port, drawing(), explain="1", **fields)
        text = str(done["text"])
        assert name == "looks" and "looks" not in done
        rows, columns = looks["grid"]  # type: ignore[misc]
        words: Any = looks["words"]
        assert [each["text"] for each in words] == text.split()
        assert all(text[each["start"] : each["end"]] == each["text"] for each in words)
        assert {len(each["map"]) for each in words} == {rows * columns}
        assert max(max(each["map"]) for each in words) == 255
        if "sure" in fields:
            assert text == plain
            sure: Any = done["sure"]
            for each, other in zip(words, sure["words"], strict=True):
                assert each["probability"] == pytest.approx(other["probability"], abs=1e-3)
    # The finder's words looked at nothing that could be told.
    names = [name for name, _ in caption(process.port, photograph_bytes("chelsea"), explain="1")]
    assert "looks" not in names and names[-1] == "done"


def test_live_frames_are_captioned_too(process: SightlineProcess) -> None:
    def text() -> object:
        return caption(process.port, photograph_bytes("coffee"), camera="desk")[-1][1]["text"]

    # On a busy machine the finder can miss its time limit for the first frames.
    wait_until(lambda: text() == "Perhaps coffee.")


@pytest.mark.parametrize(
    ("fields", "by"),
    [
        ({"preset": "read"}, "reader"),
        ({"preset": "read", "reading": "reader"}, "reader"),
        ({"prompt": "Was steht da?", "reading": "reader"}, "reader"),
        # nano does not know the frame, so that the reader answers after all.
        ({"preset": "read", "reading": "model"}, "reader"),
        ({"prompt": "Describe this image briefly."}, "finder"),
    ],
)
def test_who_reads_is_a_field_of_the_request(
    process: SightlineProcess, fields: dict[str, str], by: str
) -> None:
    done = caption(process.port, photograph_bytes("page"), **fields)[-1][1]
    assert done["stats"]["by"] == by  # type: ignore[index]
    assert "Region-based segmentation" in str(done["text"])


def test_an_unknown_reader_is_refused(process: SightlineProcess) -> None:
    path = "/api/captions?reading=me"
    status, _, body = ask(process.port, "POST", path, photograph_bytes("page"), PNG)
    assert (status, json.loads(body)["error"]["code"]) == (400, "bad_request")


def test_openai_s_client_gets_the_same_whole_and_streamed(process: SightlineProcess) -> None:
    client: OpenAI = client_of(process.port)
    messages = question(photograph_bytes("chelsea"), text="What is this?")
    whole = client.chat.completions.create(model="nano", messages=messages)  # type: ignore[arg-type]
    assert whole.choices[0].message.content == "Perhaps a cat."
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None and whole.usage.completion_tokens == 3
    chunks = client.chat.completions.create(model="nano", messages=messages, stream=True)  # type: ignore[arg-type]
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert [word for word in words if word] == ["Perhaps", " a", " cat."]
    client.close()


def test_json_by_the_finder_is_one_object(process: SightlineProcess) -> None:
    client = client_of(process.port)
    messages = question(photograph_bytes("chelsea"), text="Describe this image as JSON.")
    answer = client.chat.completions.create(
        model="nano",
        messages=messages,  # type: ignore[arg-type]
        response_format={"type": "json_object"},
        max_tokens=64,
    )
    told = json.loads(answer.choices[0].message.content or "")
    assert (told["objects"], told["text"]) == (["a cat"], None)
    client.close()


def test_the_status_and_the_metrics_tell_of_the_small_models(process: SightlineProcess) -> None:
    caption(process.port, photograph_bytes("chelsea"))
    finder = json.loads(ask(process.port, "GET", "/api/status")[2])["finder"]
    assert (finder["detector"], finder["classifier"]) == ("nanodet", "efficientnet-lite0")
    assert (finder["reader"], finder["problem"], len(finder["classes"])) == ("rapidocr", None, 80)
    metrics = ask(process.port, "GET", "/metrics")[2]
    lines = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line[0] != "#")
    assert float(lines['sightline_captions_total{by="finder"}']) >= 1
    assert float(lines['sightline_captions_total{by="reader"}']) >= 0
    for part in ("detector", "classifier", "reader"):
        assert lines[f'sightline_small_model_loaded{{part="{part}"}}'] == "1.0"
        assert lines[f'sightline_small_model_failures_total{{part="{part}"}}'] == "0.0"


def test_the_log_names_the_maker_and_nothing_that_was_seen_or_read() -> None:
    env = {"SIGHTLINE_LOG_REQUESTS": "on"}
    with SightlineProcess(["--model", "nano", "--offline"], env) as process:
        process.wait_until_ready()
        read = caption(process.port, photograph_bytes("page"), preset="read")[-1][1]
        assert "segmentation" in str(read["text"])
        caption(process.port, photograph_bytes("chelsea"))
        for path in ("/api/boxes?find=cat", "/api/things", "/api/text"):
            assert ask(process.port, "POST", path, photograph_bytes("page"), PNG)[0] == 200
        process.process.send_signal(signal.SIGINT)
        _, log = process.process.communicate(timeout=HANG_GUARD_S)
    lines = [json.loads(line) for line in log.splitlines()]
    assert [(line["route"], line.get("by")) for line in lines] == [
        ("/api/captions", "reader"),
        ("/api/captions", "finder"),
        ("/api/boxes", None),
        ("/api/things", None),
        ("/api/text", None),
    ]
    for word in ("segmentation", "cat", "Perhaps", "Region"):
        assert word not in log
