"""`/api/boxes`, `/api/things` and `/api/text`: bodies, fields, bounds and failures."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image, ImageOps

from photographs import photograph_bytes
from vlm.errors import ModelFailedError
from vlm.images.decode import MAX_IMAGE_BYTES
from vlm.models.manager import Models
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web.app import create_app
from web.streaming import Admission
from web.things import MAX_IN_FLIGHT, MAX_NAME_CHARS, MAX_NAMES
from web_client import JPEG, ask, picture, served, wait_until

PATHS = ("/api/boxes", "/api/things", "/api/text")
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def models(web_worker: Worker) -> Iterator[Models]:
    models = Models(Settings(), web_worker)
    yield models
    models.finder.close()


@pytest.fixture(scope="module")
def client(models: Models) -> FlaskClient:
    return create_app(Settings(), models).test_client()


def post(client: FlaskClient, path: str, name: str = "chelsea") -> Any:
    answer = client.post(path, data=photograph_bytes(name), headers=PNG)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def test_boxes_of_a_photograph(client: FlaskClient) -> None:
    told = post(client, "/api/boxes")
    assert set(told) == {"boxes", "detector", "unknown", "total_s"}
    assert (told["detector"], told["unknown"]) == ("nanodet", [])
    (cat,) = told["boxes"]
    assert set(cat) == {"name", "score", "box"}
    assert cat["name"] == "cat"
    x0, y0, x1, y1 = cat["box"]
    assert 0 <= x0 < 0.4 and 0.6 < x1 <= 1 and 0 <= y0 < 0.4 and 0.6 < y1 <= 1
    assert 0.4 < cat["score"] <= 1


def test_boxes_in_thousandths(client: FlaskClient) -> None:
    (cat,) = post(client, "/api/boxes")["boxes"]
    (scaled,) = post(client, "/api/boxes?scale=1000")["boxes"]
    assert all(isinstance(value, int) and 0 <= value <= 1000 for value in scaled["box"])
    assert scaled["box"] == [pytest.approx(1000 * value, abs=1) for value in cat["box"]]


@pytest.mark.parametrize(
    ("find", "names", "unknown"),
    [
        ("cat", ["cat"], []),
        ("my kitten", ["cat"], []),
        ("animals", ["cat"], []),
        ("dog", [], []),
        ("dog, Cats,dragon, phone charger", ["cat"], ["dragon", "phone charger"]),
        ("dragon", [], ["dragon"]),
        (",, ,", ["cat"], []),
    ],
)
def test_a_thing_is_asked_for_by_name(
    client: FlaskClient, find: str, names: list[str], unknown: list[str]
) -> None:
    form = {"image": (io.BytesIO(photograph_bytes("chelsea")), "cat.png"), "find": find}
    answer = client.post("/api/boxes", data=form)
    assert answer.status_code == 200, answer.text
    told = answer.get_json()
    assert ([box["name"] for box in told["boxes"]], told["unknown"]) == (names, unknown)


def test_phrases_are_for_detectors_without_names(client: FlaskClient) -> None:
    assert post(client, "/api/boxes?phrases=dog")["boxes"] == post(client, "/api/boxes")["boxes"]


def test_things_of_a_photograph(client: FlaskClient) -> None:
    told = post(client, "/api/things")
    assert set(told) == {"things", "place", "total_s"}
    assert told["place"] is None
    (cat,) = told["things"]
    assert (cat["name"], cat["by"]) == ("cat", "both")
    (coffee,) = (
        thing
        for thing in post(client, "/api/things", "coffee")["things"]
        if thing["by"] != "detector"
    )
    assert (coffee["name"], coffee["by"]) == ("coffee", "classifier")
    assert 0.2 < coffee["probability"] <= 1


def test_text_of_a_page(client: FlaskClient) -> None:
    told = post(client, "/api/text?scale=1000", "page")
    assert set(told) == {"lines", "note", "total_s"}
    assert told["note"] is None
    assert told["lines"][0]["text"] == "Region-based segmentation"
    assert all(0.7 <= line["score"] <= 1 for line in told["lines"])
    tops = [line["box"][1] for line in told["lines"]]
    assert tops == sorted(tops)


def test_mirrored_text_is_read_if_the_request_says_so(client: FlaskClient) -> None:
    with Image.open(io.BytesIO(photograph_bytes("page"))) as page:
        mirrored = io.BytesIO()
        ImageOps.mirror(page).save(mirrored, "PNG")
    told = {
        field: client.post(f"/api/text?{field}", data=mirrored.getvalue(), headers=PNG).get_json()
        for field in ("mirrored=0", "mirrored=1", "mirrored=yes")
    }
    title = "Region-based segmentation"
    assert title not in [line["text"] for line in told["mirrored=0"]["lines"]]
    first = told["mirrored=1"]["lines"][0]
    assert first["text"] == title
    # The title is at the left of the page, so at the right of this picture.
    assert first["box"][2] > 0.8
    assert "mirrored must be one of" in told["mirrored=yes"]["error"]["message"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        (b"", JPEG, 400, "bad_image"),
        (b"GIF89a", JPEG, 415, "unsupported_image"),
        (picture("PNG")[:60], JPEG, 400, "bad_image"),
        (b"no picture", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (bytes(MAX_IMAGE_BYTES + 1), JPEG, 413, "image_too_large"),
        (b"--b--", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "bad_request"),
    ],
)
def test_bodies_have_the_bounds_of_captions(
    client: FlaskClient, path: str, data: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    refused = client.post(path, data=data, headers=headers)
    caption = client.post("/api/captions", data=data, headers=headers)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (status, code)
    assert refused.get_json() == caption.get_json()


@pytest.mark.parametrize(
    ("query", "is_taken"),
    [
        ("scale=2", False),
        ("scale=1&scale=10", False),
        ("find=" + "x" * MAX_NAME_CHARS, True),
        ("find=" + "x" * (MAX_NAME_CHARS + 1), False),
        ("find=" + ",".join("x" * MAX_NAMES), True),
        ("find=" + ",".join("x" * (MAX_NAMES + 1)), False),
        # Control characters are spaces; what is no UTF-8 is refused.
        ("find=a%00b", True),
        ("phrases=a%EF%BF%BD", False),
        ("other=1", True),
    ],
)
def test_fields_are_checked(client: FlaskClient, query: str, is_taken: bool) -> None:
    answer = client.post(f"/api/boxes?{query}", data=picture(), headers=JPEG)
    assert answer.status_code == (200 if is_taken else 400), answer.text
    if not is_taken:
        assert answer.get_json()["error"]["code"] == "bad_request"


def test_a_field_of_another_route_is_ignored(client: FlaskClient) -> None:
    answer = client.post("/api/things?scale=2&find=%EF%BF%BD", data=picture(), headers=JPEG)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_pages_of_other_sites_are_refused(client: FlaskClient, path: str) -> None:
    headers = JPEG | {"Origin": "https://example.org"}
    assert client.post(path, data=picture(), headers=headers).status_code == 403
    assert (
        client.post(path, data=picture(), headers=JPEG | {"Host": "evil.example"}).status_code
        == 403
    )


def test_more_requests_than_the_detector_takes_are_refused_at_once(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, entered = threading.Event(), threading.Semaphore(0)
    real = models.finder.boxes

    def held(*arguments: Any) -> Any:
        entered.release()
        gate.wait(60)
        return real(*arguments)

    monkeypatch.setattr(models.finder, "boxes", held)
    client = create_app(Settings(), models).test_client()

    def send() -> int:
        sender = client.application.test_client()
        return sender.post("/api/boxes", data=picture(), headers=JPEG).status_code

    with ThreadPoolExecutor(MAX_IN_FLIGHT) as threads:
        sent = [threads.submit(send) for _ in range(MAX_IN_FLIGHT)]
        for _ in sent:
            assert entered.acquire(timeout=60)
        refused = client.post("/api/boxes", data=picture(), headers=JPEG)
        # Another small model is not in the way.
        other = client.post("/api/things", data=picture(), headers=JPEG)
        gate.set()
        assert [each.result() for each in sent] == [200] * MAX_IN_FLIGHT
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert refused.get_json()["error"]["code"] == "busy"
    assert other.status_code == 200
    assert client.post("/api/boxes", data=picture(), headers=JPEG).status_code == 200


def test_the_places_of_captions_bound_these_routes_too(models: Models) -> None:
    admission = Admission(1)
    client = create_app(Settings(), models, admission).test_client()
    admission.in_flight = admission.limit
    for path in PATHS:
        refused = client.post(path, data=picture(), headers=JPEG)
        assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "busy")
    assert admission.in_flight == admission.limit


def test_what_is_off_is_told_and_captions_go_on(web_worker: Worker) -> None:
    settings = Settings(detector="none")
    models = Models(settings, web_worker)
    client = create_app(settings, models).test_client()
    for path in ("/api/boxes", "/api/things"):
        refused = client.post(path, data=picture(), headers=JPEG)
        assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "part_off")
        assert "Retry-After" not in refused.headers
    assert client.get("/api/status").get_json()["finder"]["detector"] is None
    assert client.post("/api/captions", data=picture(), headers=JPEG).status_code == 200
    models.finder.close()


def test_what_is_broken_is_told_in_the_answer_the_status_and_the_metrics(
    web_worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*names: str, **options: object) -> None:
        raise ModelFailedError("Its file is damaged.")

    for name in ("vlm.detect.detector.load_detector", "vlm.reading.reader.load_reader"):
        monkeypatch.setattr(name, broken)
    caplog.set_level(logging.WARNING)
    models = Models(Settings(), web_worker)
    client = create_app(Settings(), models).test_client()
    for path in (*PATHS, *PATHS):
        refused = client.post(path, data=picture(), headers=JPEG)
        assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "part_failed")
        assert "Its file is damaged." in refused.get_json()["error"]["message"]
    status = client.get("/api/status").get_json()["finder"]
    assert (status["detector"], status["classes"], status["reader"]) == (None, [], None)
    assert status["classifier"] == "efficientnet-lite0"
    assert status["problem"].count("Its file is damaged.") == 2
    assert len(caplog.records) == 2
    metrics = client.get("/metrics").text
    assert 'sightline_small_model_failures_total{part="detector"} 1.0' in metrics
    assert 'sightline_small_model_loaded{part="detector"} 0.0' in metrics
    models.finder.close()


def test_a_real_server_answers_beside_captions(web_worker: Worker) -> None:
    with served(web_worker, Settings(model="nano", offline=True)) as (port, _):
        for path in PATHS:
            status, headers, body = ask(port, "POST", path, photograph_bytes("chelsea"), PNG)
            assert (status, headers["Content-Type"]) == (200, "application/json"), body
        wait_until(lambda: not web_worker.busy)
