"""Faults of the routes that explain an answer: each has a clear error, and nothing is lost."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from counting_runtime import counting
from tools.nano.scenes import make_frame
from vlm.engine.engine import Engine
from vlm.finder.claims_engine import ClaimsEngine
from vlm.finder.looks_engine import LooksEngine
from vlm.scheduler.worker import Worker
from web_client import JPEG, app_over, read_events, started

TEXT = "A red star."
TURN = {"question": "Is there a star?", "answer": "Yes."}
LOOKS = {"explain": "1", "sure": "1"}
# Each of them takes several steps or a kept frame.
ASKED: tuple[tuple[str, dict[str, str]], ...] = (
    ("labels", {"labels": "red star,blue ring"}),
    ("labels", {"labels": "red star,blue ring", "mode": "many"}),
    ("aspects", {}),
    ("where", {"phrase": "star"}),
    ("hiding", {"text": TEXT, "start": "2", "end": "5"}),
    ("patches", {"x": "0.5", "y": "0.5"}),
    ("captions", LOOKS),
    ("captions", LOOKS | {"claims": "mark"}),
    ("captions", LOOKS | {"claims": "strict"}),
    ("captions", {"alternatives": "3", "begin": "A red"}),
)


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


SCENE = png(make_frame(40, "test", "objects").image)


def without_times(told: Any) -> Any:
    """Return what an answer says, without what it took and how likely, which rounding may move."""
    if isinstance(told, dict):
        left_out = ("total_s", "stats", "passes", "rows", "probability", "logprob", "map", "score")
        return {name: without_times(each) for name, each in told.items() if name not in left_out}
    if isinstance(told, list | tuple):
        return [without_times(each) for each in told]
    return round(told, 2) if isinstance(told, float) else told


def ask(client: FlaskClient, path: str, query: dict[str, str], data: bytes = SCENE) -> Any:
    """Return the answer as JSON, of a stream its last two events."""
    answer = client.post(f"/api/{path}", query_string=query, data=data, headers=JPEG)
    assert answer.status_code == 200, (path, query, answer.text)
    if path != "captions":
        return without_times(answer.get_json())
    events = read_events(answer.text)
    assert events[-1][0] == "done", (query, events)
    return without_times(events[-2:])


@pytest.fixture(scope="module")
def engines(
    nano_dir: Path, stops: frozenset[int]
) -> Iterator[Callable[[], tuple[LooksEngine, Engine]]]:
    """Makes engines as a server has them, with the one inside."""

    def make() -> tuple[LooksEngine, Engine]:
        inner, _ = counting(nano_dir, stops, "nano")
        return LooksEngine(ClaimsEngine(inner)), inner

    yield make


def test_a_frame_evicted_or_a_model_changed_between_two_requests(
    engines: Callable[[], tuple[LooksEngine, Engine]],
) -> None:
    first, inner = engines()
    with started(Worker(lambda: first, 4)) as worker:
        client = app_over(worker).test_client()
        usual = [ask(client, path, query) for path, query in ASKED]
        for (path, query), told in zip(ASKED, usual, strict=True):
            inner.close()
            assert ask(client, path, query) == told, (path, query)
        for (path, query), told in zip(ASKED, usual, strict=True):
            worker.replace(engines()[0])
            assert ask(client, path, query) == told, (path, query)


def test_a_model_changed_while_a_caption_is_explained(
    engines: Callable[[], tuple[LooksEngine, Engine]],
) -> None:
    query = LOOKS | {"claims": "mark"}
    first, second = engines()[0], engines()[0]
    with started(Worker(lambda: first, 4)) as worker:
        client = app_over(worker).test_client()
        usual = ask(client, "captions", query)
        answer = client.post("/api/captions", query_string=query, data=SCENE, headers=JPEG)
        body = iter(answer.response)
        begun = next(body)
        worker.replace(second)
        told = b"".join(map(bytes, (begun, *body))).decode()  # type: ignore[arg-type]
        assert without_times(read_events(told)[-2:]) == usual
        assert ask(client, "captions", query) == usual


def test_pictures_of_one_pixel_and_too_many_turns(
    engines: Callable[[], tuple[LooksEngine, Engine]],
) -> None:
    engine, _ = engines()
    one = png(Image.new("RGB", (1, 1), "red"))
    with started(Worker(lambda: engine, 4)) as worker:
        client = app_over(worker).test_client()
        usual = ask(client, "captions", LOOKS)
        for path, query in ASKED:
            ask(client, path, query, one)
            if path in ("captions", "hiding"):
                answer = client.post(
                    f"/api/{path}",
                    query_string=query | {"turns": json.dumps(9 * [TURN])},
                    data=SCENE,
                    headers=JPEG,
                )
                error = answer.get_json()["error"]
                assert (answer.status_code, error["code"]) == (400, "bad_request")
                assert "at most 8" in error["message"]
                ask(client, path, query | {"turns": json.dumps(8 * [TURN])})
        assert ask(client, "captions", LOOKS) == usual
