"""`POST /api/captions`: what goes in, what streams out, and what a broken stream leaves behind."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from chat_kit import CHAT, chat_body, question
from counting_runtime import counting
from vlm.engine.engine import Engine
from vlm.errors import GenerationError
from vlm.prompts import DEFAULT_PROMPT, PRESETS
from vlm.results import StreamEvent, TokenChunk
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import Request
from web import streaming
from web_client import (
    JPEG,
    SteppedEngine,
    app_over,
    picture,
    read_events,
    started,
    wait_until,
)


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return web_app.test_client()


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams send their first bytes at once, which is what the test client waits for."""
    monkeypatch.setattr(streaming, "KEEPALIVE_S", 0.0)


def caption(client: FlaskClient, **query: object) -> list[tuple[str, Any]]:
    answer = client.post("/api/captions", query_string=query, data=picture(), headers=JPEG)
    assert answer.status_code == 200, answer.text
    return read_events(answer.text)


def test_tokens_come_first_and_one_done_comes_last(client: FlaskClient) -> None:
    events = caption(client)
    names = [name for name, _ in events]
    assert names == ["token"] * (len(names) - 1) + ["done"]
    assert len(names) > 1


def test_the_tokens_add_up_to_the_caption(client: FlaskClient) -> None:
    *tokens, (_, done) = caption(client)
    assert "".join(data["text"] for _, data in tokens).strip() == done["text"].strip()


def test_done_tells_why_it_ended_and_what_it_cost(client: FlaskClient) -> None:
    _, done = caption(client)[-1]
    assert set(done) == {"text", "finish_reason", "stats", "sure", "tokens"}
    assert done["sure"] is None
    assert done["finish_reason"] in ("stop", "length")
    stats = done["stats"]
    counts = {"image_tokens", "prompt_tokens", "tokens"}
    drafts = {"drafted", "accepted"}
    times = {"ttft_s", "tokens_per_s", "queued_s", "total_s"}
    assert set(stats) == counts | drafts | times | {
        "patches",
        "kept",
        "by",
        "checks",
        "claims",
        "chosen",
    }
    assert stats["by"] == "model"
    assert all(isinstance(stats[name], int) and stats[name] > 0 for name in counts)
    assert 0 <= stats["accepted"] <= stats["drafted"]
    assert 0 < stats["ttft_s"] <= stats["total_s"]
    assert stats["image_tokens"] < stats["prompt_tokens"]


def test_the_stream_may_not_be_stored_or_held_back(client: FlaskClient) -> None:
    answer = client.post("/api/captions", data=picture(), headers=JPEG)
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"


def test_max_tokens_respected(client: FlaskClient) -> None:
    _, done = caption(client, max_tokens=2)[-1]
    assert done["stats"]["tokens"] <= 2
    assert done["finish_reason"] == "length"


def test_a_caption_that_repeats_itself_is_cut_unless_the_request_forbids_it(
    endless_engine: Engine, frames: list[Image.Image]
) -> None:
    data = io.BytesIO()
    frames[0].save(data, "PNG")
    query = {"prompt": DEFAULT_PROMPT, "max_tokens": 150}
    with started(Worker(lambda: endless_engine, Settings.max_queue)) as worker:
        client = app_over(worker).test_client()
        ends = []
        for choice in ({}, {"stop_loops": "1"}, {"stop_loops": "0"}):
            url, sent = "/api/captions", data.getvalue()
            answer = client.post(
                url, query_string=query | choice, data=sent, headers={"Content-Type": "image/png"}
            )
            *tokens, (_, done) = read_events(answer.text)
            assert "".join(token["text"] for _, token in tokens) == done["text"]
            ends.append((done["finish_reason"], done["text"]))
        body = chat_body(messages=question(frames[0], text=DEFAULT_PROMPT), max_tokens=150)
        for fields in ({}, {"stop_loops": False}, {"stop_loops": True}):
            chat = client.post(CHAT, json=body | {"model": "endless"} | fields).get_json()
            (choice,) = chat["choices"]
            ends.append((choice["finish_reason"], choice["message"]["content"]))
    cut, whole = ends[0][1], ends[2][1]
    assert whole.startswith(cut) and len(cut) < len(whole)
    captions = [("loop", cut), ("loop", cut), ("length", whole)]
    # OpenAI's clients know no reason "loop".
    assert ends == [*captions, ("length", whole), ("length", whole), ("stop", cut)]


def test_what_a_live_frame_leaves_open_is_chosen_and_told(web_worker: Worker) -> None:
    client = app_over(web_worker, Settings(max_tokens=9, latency=5.0)).test_client()

    def choice_for(**query: object) -> Any:
        stats = caption(client, **query)[-1][1]["stats"]
        assert stats["tokens"] <= (stats["chosen"] or {}).get("max_tokens", 9)
        return stats["chosen"]

    first = choice_for(camera="door")
    assert first == {
        "detail": "low",
        "max_tokens": 9,
        "interval_s": first["interval_s"],
        "latency_s": 0.0,
        "why": "For captions within 5 s; not measured yet.",
    }
    later = [choice_for(camera="door") for _ in range(6)][-1]
    assert 0 < later["interval_s"] < later["latency_s"]
    # What a client asks for always wins, and only live frames are chosen for.
    assert choice_for(camera="door", max_tokens=3, detail="high")["max_tokens"] == 3
    assert choice_for(camera="door", detail="high")["detail"] == "high"
    assert choice_for(camera="door", kind="question") is None
    assert choice_for() is None
    live = client.get("/api/status").get_json()["live"]
    assert (live["wanted_s"], live["cameras"]) == (5.0, 1)
    assert live["chosen"]["max_tokens"] == 9
    metrics = client.get("/metrics").text
    assert "sightline_cameras 1.0" in metrics
    assert 'sightline_live_captions_total{detail="low"} 7.0' in metrics


def test_the_setting_is_the_default_for_max_tokens(web_worker: Worker) -> None:
    client = app_over(web_worker, Settings(max_tokens=1)).test_client()
    assert caption(client)[-1][1]["stats"]["tokens"] == 1


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_the_formats_of_a_frame_are_taken(client: FlaskClient, image_format: str) -> None:
    headers = {"Content-Type": f"image/{image_format.lower()}"}
    answer = client.post("/api/captions", data=picture(image_format), headers=headers)
    assert read_events(answer.text)[-1][0] == "done"


def test_a_body_without_a_named_format_is_looked_into(client: FlaskClient) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    answer = client.post("/api/captions", data=picture("PNG"), headers=headers)
    assert read_events(answer.text)[-1][0] == "done"


def test_fields_may_come_in_the_query_or_in_the_form(client: FlaskClient) -> None:
    fields = {"prompt": PRESETS[0].prompt, "max_tokens": "3", "camera": "door-2", "detail": "low"}
    by_query = caption(client, **fields)[-1][1]
    form = {**fields, "image": (io.BytesIO(picture()), "frame.jpg")}
    by_form = read_events(client.post("/api/captions", data=form).text)[-1][1]
    assert by_form["text"] == by_query["text"]
    assert by_form["stats"]["prompt_tokens"] == by_query["stats"]["prompt_tokens"]


def test_a_longer_prompt_costs_more_prompt_tokens(client: FlaskClient) -> None:
    short, long = (
        caption(client, prompt=prompt, max_tokens=1)[-1][1]["stats"]["prompt_tokens"]
        for prompt in ("What is it?", "What is it, and what is around it, and what is behind it?")
    )
    assert long > short


def test_an_empty_prompt_is_the_default_one(client: FlaskClient) -> None:
    assert caption(client, prompt="  ")[-1][1]["text"] == caption(client)[-1][1]["text"]


def test_each_detail_has_its_tokens(client: FlaskClient) -> None:
    # nano's tile has 64 tokens, and holds a whole frame of detail high.
    for detail, tokens in (("tiny", 16), ("small", 36), ("low", 64), ("high", 64)):
        stats = caption(client, detail=detail, max_tokens=1)[-1][1]["stats"]
        assert stats["image_tokens"] == tokens, detail


PNG = {"Content-Type": "image/png"}
TURNS = [{"question": PRESETS[0].prompt, "answer": "A red circle."}]


def test_earlier_turns_make_the_chat_that_the_chat_route_gets(
    client: FlaskClient, frames: list[Image.Image]
) -> None:
    data = io.BytesIO()
    frames[0].save(data, "PNG")
    query = {"prompt": PRESETS[1].prompt, "max_tokens": 20, "turns": json.dumps(TURNS)}
    answer = client.post("/api/captions", query_string=query, data=data.getvalue(), headers=PNG)
    _, done = read_events(answer.text)[-1]
    first, *others = question(frames[0], text=PRESETS[0].prompt)
    messages = [
        first,
        *others,
        {"role": "assistant", "content": TURNS[0]["answer"]},
        {"role": "user", "content": PRESETS[1].prompt},
    ]
    chat = client.post(CHAT, json=chat_body(messages=messages, max_tokens=20)).get_json()
    assert chat["choices"][0]["message"]["content"] == done["text"]
    assert chat["usage"]["prompt_tokens"] == done["stats"]["prompt_tokens"]


def test_a_second_question_about_a_picture_encodes_nothing(
    nano_dir: Path, frames: list[Image.Image]
) -> None:
    engine, runtime = counting(nano_dir)
    data = io.BytesIO()
    frames[0].save(data, "PNG")
    with started(Worker(lambda: engine, Settings.max_queue)) as worker:
        client = app_over(worker).test_client()
        turns: list[dict[str, str]] = []
        for prompt in (PRESETS[0].prompt, PRESETS[3].prompt, PRESETS[1].prompt):
            query = {"prompt": prompt, "max_tokens": 12, "turns": json.dumps(turns)}
            sent = {"query_string": query, "data": data.getvalue(), "headers": PNG}
            answer = client.post("/api/captions", **sent)
            _, done = read_events(answer.text)[-1]
            assert runtime.encoded_tiles == 1
            turns.append({"question": prompt, "answer": done["text"]})


def test_a_preset_stands_for_its_prompt(client: FlaskClient) -> None:
    by_id, by_prompt = (
        caption(client, preset=PRESETS[1].id),
        caption(client, prompt=PRESETS[1].prompt),
    )
    assert by_id[-1][1]["text"] == by_prompt[-1][1]["text"]
    assert by_id[-1][1]["stats"]["prompt_tokens"] == by_prompt[-1][1]["stats"]["prompt_tokens"]


def test_unknown_fields_are_ignored(client: FlaskClient) -> None:
    assert caption(client, colour="blue")[-1][0] == "done"


def test_a_pass_that_fails_midway_ends_in_one_error_event(engine: Engine) -> None:
    class Failing(SteppedEngine):
        def stream(self, *_: object) -> Generator[StreamEvent, None, None]:
            yield TokenChunk("A ")
            raise GenerationError("The device ran out of memory. Try again.")

    failing = Failing(engine)
    failing.allow(1000)
    with started(Worker(lambda: failing, max_queue=1)) as worker:
        client = app_over(worker).test_client()
        for _ in range(3):  # The place is given back each time, and the worker lives on.
            events = caption(client)
            assert [name for name, _ in events] == ["token", "error"]
            assert events[-1][1]["error"]["code"] == "generation_failed"
            assert "memory" in events[-1][1]["error"]["message"]


def test_an_unforeseen_failure_midway_tells_no_secrets(engine: Engine) -> None:
    class Failing(SteppedEngine):
        def stream(self, *_: object) -> Generator[StreamEvent, None, None]:
            yield TokenChunk("A ")
            raise RuntimeError("secret of the house")

    failing = Failing(engine)
    failing.allow(1000)
    with started(Worker(lambda: failing, max_queue=1)) as worker:
        client = app_over(worker).test_client()
        answer = client.post("/api/captions", data=picture(), headers=JPEG)
        assert read_events(answer.text)[-1][0] == "error"
        assert "secret" not in answer.text


def test_closing_the_answer_stops_the_generation(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with started(Worker(lambda: stepped, max_queue=1)) as worker:
        client = app_over(worker).test_client()
        stepped.allow(1)
        answer = client.post("/api/captions", data=picture(), headers=JPEG, buffered=False)
        assert b"event: token" in next(iter(answer.response))
        answer.close()
        stepped.allow(1)
        wait_until(lambda: stepped.closed == 1)
        assert stepped.made <= 2
        stepped.allow(1000)
        assert caption(client)[-1][0] == "done"


def test_an_answer_never_read_gives_its_place_back(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    stepped.allow(10_000)
    with started(Worker(lambda: stepped, max_queue=1)) as worker:
        client = app_over(worker, Settings(max_queue=1)).test_client()
        for _ in range(5):
            client.post("/api/captions", data=picture(), headers=JPEG, buffered=False).close()
        wait_until(lambda: not worker.busy)
        assert caption(client)[-1][0] == "done"


@pytest.mark.usefixtures("talkative")
def test_over_the_bound_a_client_is_told_to_come_again(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with started(Worker(lambda: stepped, max_queue=1)) as worker:
        client = app_over(worker, Settings(max_queue=1)).test_client()
        held = [
            client.post("/api/captions", data=picture(), headers=JPEG, buffered=False)
            for _ in range(2)
        ]
        assert [answer.status_code for answer in held] == [200, 200]
        refused = client.post("/api/captions", data=picture(), headers=JPEG)
        assert refused.status_code == 503
        assert refused.get_json()["error"]["code"] == "busy"
        assert int(refused.headers["Retry-After"]) >= 1
        stepped.allow(10_000)
        for answer in held:
            assert read_events(answer.text)[-1][0] == "done"
            answer.close()
        assert caption(client)[-1][0] == "done"


def test_while_the_model_loads_a_client_is_told_to_come_again(engine: Engine) -> None:
    stepped = SteppedEngine(engine)

    def load() -> SteppedEngine:
        wait_until(lambda: stepped.made < 0)
        return stepped

    worker = Worker(load, max_queue=1)
    worker.start()
    try:
        client = app_over(worker).test_client()
        refused = client.post("/api/captions", data=picture(), headers=JPEG)
        assert refused.status_code == 503
        assert refused.get_json()["error"]["code"] == "loading"
        assert int(refused.headers["Retry-After"]) >= 1
        worker.report("Converting it, once")
        status = client.get("/api/status").get_json()
        assert status["state"] == "loading"
        assert status["progress"] == "Converting it, once"
        assert status["model"] is status["device"] is status["frame_size_px"] is None
        assert client.get("/healthz").status_code == 200
    finally:
        stepped.made = -1
        worker.close(timeout_s=60)


@pytest.mark.usefixtures("talkative")
def test_a_frame_that_a_newer_one_replaced_ends_in_one_error_event(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with started(Worker(lambda: stepped, max_queue=2)) as worker:
        client = app_over(worker).test_client()
        answers = [
            client.post(f"/api/captions?camera={camera}", data=picture(), headers=JPEG)
            for camera in ("a", "b", "b")
        ]
        stepped.allow(10_000)
        ends = [read_events(answer.text)[-1] for answer in answers]
        assert [name for name, _ in ends] == ["done", "error", "done"]
        assert ends[1][1]["error"]["code"] == "superseded"


@pytest.mark.parametrize(
    ("query", "is_live"),
    [
        ({}, False),
        ({"camera": "a"}, True),
        ({"camera": "a", "kind": "live"}, True),
        ({"camera": "a", "kind": "question"}, False),
        ({"kind": "question"}, False),
    ],
)
def test_a_frame_of_a_camera_is_live_unless_it_says_that_it_is_a_question(
    engine: Engine, query: dict[str, str], is_live: bool
) -> None:
    class Watched(SteppedEngine):
        def stream(
            self, request: Request, is_cancelled: Callable[[], bool]
        ) -> Generator[StreamEvent, None, None]:
            asked.append(request)
            yield from super().stream(request, is_cancelled)

    asked: list[Request] = []
    watched = Watched(engine)
    watched.allow(1000)
    with started(Worker(lambda: watched, max_queue=1)) as worker:
        caption(app_over(worker).test_client(), **query)
    assert [(each.kind == "live", each.camera) for each in asked] == [
        (is_live, query.get("camera"))
    ]


@pytest.mark.usefixtures("talkative")
def test_a_waiting_client_hears_that_the_server_lives(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with started(Worker(lambda: stepped, max_queue=1)) as worker:
        client = app_over(worker).test_client()
        answer = client.post("/api/captions", data=picture(), headers=JPEG, buffered=False)
        pieces = iter(answer.response)
        assert next(pieces) == b": waiting\n\n"
        stepped.allow(10_000)
        assert any(b"event: done" in piece for piece in pieces)
        answer.close()


def test_sure_changes_no_text_and_gives_each_word_a_probability(
    client: FlaskClient, frames: list[Image.Image]
) -> None:
    drafted = 0
    for frame in frames[:4]:
        out = io.BytesIO()
        frame.save(out, "PNG")
        for prompt in ("Describe this image in detail.", "Is there a star?"):
            query = {"prompt": prompt, "camera": "sure", "kind": "question", "max_tokens": 60}
            (*_, plain), (*_, told) = (
                read_events(
                    client.post("/api/captions", query_string=each, data=out.getvalue()).text
                )
                for each in (query, query | {"sure": "1"})
            )
            text, sure = told[1]["text"], told[1]["sure"]
            drafted += told[1]["stats"]["drafted"]
            assert text == plain[1]["text"]
            if told[1]["stats"]["by"] != "model":
                assert sure is None
                continue
            assert [each["text"] for each in sure["words"]] == text.split()
            assert all(text[each["start"] : each["end"]] == each["text"] for each in sure["words"])
            product = math.prod(each["probability"] for each in sure["words"])
            assert sure["probability"] == pytest.approx(product, rel=1e-6)
            assert all(len(each["alternatives"]) == 3 for each in sure["words"])
    assert drafted > 0, "an answer with probabilities has drafts, too"
