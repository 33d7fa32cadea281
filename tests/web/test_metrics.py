"""`GET /metrics`: each request is counted once, under names and labels that suit Prometheus."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from vlm.engine.engine import Engine
from vlm.events import Record
from vlm.models.manager import Models
from vlm.results import Result, Stats
from vlm.scheduler.controller import Controller
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import AnswerTask, Request
from web.app import create_app
from web.metrics import BATCH_SIZES, KINDS, Metrics
from web_client import (
    HANG_GUARD_S,
    JPEG,
    SteppedEngine,
    app_over,
    picture,
    read_events,
    served,
    started,
    wait_until,
)

STATS = Stats(
    ttft_s=0.02, tokens_per_s=100.0, image_tokens=16, prompt_tokens=30, tokens=5, drafted=4,
    accepted=3, queued_s=0.3, total_s=0.05,
)  # fmt: skip


@pytest.fixture
def client(web_app: Flask) -> FlaskClient:
    return web_app.test_client()


@pytest.fixture
def metrics(web_worker: Worker) -> Metrics:
    return Metrics(Models(Settings(), web_worker), Controller(None, 64))


def families_of(text: str) -> dict[str, Metric]:
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return {family.name: family for family in families}


def sum_of(text: str, name: str, **labels: str) -> float:
    """The sum of all samples of that name which have these labels."""
    return sum(
        sample.value
        for family in families_of(text).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def scraped(client: FlaskClient) -> str:
    answer = client.get("/metrics", buffered=True)
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return answer.text


def test_metric_names_follow_prometheus_conventions(client: FlaskClient) -> None:
    client.get("/nothing-here", buffered=True)
    for name, family in families_of(scraped(client)).items():
        assert re.fullmatch(r"(sightline|process)_[a-z_]+", name)
        assert family.documentation.endswith("."), name
        assert not re.search(r"_(ms|mb|count|milliseconds|megabytes|created)$", name), name


@pytest.mark.parametrize("kind", KINDS)
def test_requests_are_counted_by_kind_and_outcome(metrics: Metrics, kind: str) -> None:
    ended = {"done": 3, "cancelled": 2, "superseded": 4, "refused": 5, "failed": 1}
    for outcome, times in ended.items():
        for _ in range(times):
            result = Result("", "stop", STATS) if outcome == "done" else None
            request = Request(AnswerTask((), 8), kind=kind)
            metrics.request_ended(Record(request, outcome, 0.0, queued_s=0.3, result=result))
    text = metrics.text().decode()
    name = "sightline_requests_total"
    for outcome, times in ended.items():
        assert sum_of(text, name, kind=kind, outcome=outcome) == times
    assert sum_of(text, name) == sum(ended.values())
    # A refused request never waits, and only a finished one has stats.
    waited = sum(ended.values()) - ended["refused"]
    assert sum_of(text, "sightline_queued_seconds_count", kind=kind) == waited
    assert sum_of(text, "sightline_time_to_first_token_seconds_count", kind=kind) == 3
    assert sum_of(text, "sightline_caption_seconds_sum", kind=kind) == pytest.approx(0.15)
    for counted, cost in (
        ("generated", STATS.tokens),
        ("prompt", STATS.prompt_tokens),
        ("image", STATS.image_tokens),
        ("drafted", STATS.drafted),
        ("accepted", STATS.accepted),
    ):
        assert sum_of(text, f"sightline_{counted}_tokens_total") == 3 * cost


def test_all_outcomes_are_listed_before_the_first_request(metrics: Metrics) -> None:
    family = families_of(metrics.text().decode())["sightline_requests"]
    assert len(family.samples) == 10
    assert {sample.value for sample in family.samples} == {0}


def test_an_empty_answer_has_no_time_to_first_token(metrics: Metrics) -> None:
    stats = Stats(**{**vars(STATS), "tokens": 0, "ttft_s": 0.0})
    request = Request(AnswerTask((), 8), kind="live")
    metrics.request_ended(Record(request, "done", 0.0, 0.0, result=Result("", "stop", stats)))
    text = metrics.text().decode()
    assert sum_of(text, "sightline_time_to_first_token_seconds_count") == 0
    assert sum_of(text, "sightline_caption_seconds_count") == 1


def test_batch_sizes_are_counted(metrics: Metrics) -> None:
    for size in (1, 2, 8, BATCH_SIZES[-1] + 1):
        metrics.step_ran(size)
    text = metrics.text().decode()
    assert sum_of(text, "sightline_batch_size_bucket", le="2.0") == 2
    assert sum_of(text, "sightline_batch_size_count") == 4
    assert sum_of(text, "sightline_batch_size_sum") == 12 + BATCH_SIZES[-1]


def test_metrics_equal_the_stats_of_the_answers(web_app: Flask) -> None:
    client = web_app.test_client()
    cost: Counter[str] = Counter()
    queries = [{"kind": "question"}, {"camera": "door"}, {"camera": "door"}, {"max_tokens": "2"}]
    for query in queries:
        answer = client.post("/api/captions", query_string=query, data=picture(), headers=JPEG)
        stats = read_events(answer.text)[-1][1]["stats"]
        # Lists, words and what was chosen are no costs.
        cost.update({name: each for name, each in stats.items() if isinstance(each, int | float)})
    text = scraped(client)
    for kind, times in (("live", 2), ("question", 2)):
        ended = {"kind": kind, "outcome": "done"}
        assert sum_of(text, "sightline_requests_total", **ended) == times
        assert sum_of(text, "sightline_caption_seconds_count", kind=kind) == times
    assert sum_of(text, "sightline_requests_total") == len(queries)
    for counted, name in (
        ("generated_tokens_total", "tokens"),
        ("prompt_tokens_total", "prompt_tokens"),
        ("image_tokens_total", "image_tokens"),
        ("drafted_tokens_total", "drafted"),
        ("accepted_tokens_total", "accepted"),
        ("time_to_first_token_seconds_sum", "ttft_s"),
        ("caption_seconds_sum", "total_s"),
        ("queued_seconds_sum", "queued_s"),
    ):
        assert sum_of(text, f"sightline_{counted}") == pytest.approx(cost[name])
    # The requests ran one after the other, so each pass had one of them.
    assert sum_of(text, "sightline_batch_size_sum") == sum_of(text, "sightline_batch_size_count")
    assert sum_of(text, "sightline_batch_size_count") >= len(queries)


def test_queue_length_and_refusals_are_reported(engine: Engine) -> None:
    stepped = SteppedEngine(engine)
    with started(Worker(lambda: stepped, max_queue=1)) as worker:
        app = app_over(worker, Settings(max_queue=10))
        observer = app.test_client()
        with ThreadPoolExecutor(2) as others:
            waiting = [
                others.submit(app.test_client().post, "/api/captions", data=picture(), headers=JPEG)
                for _ in range(2)
            ]
            wait_until(lambda: (worker.queue.in_flight, worker.queue.waiting) == (1, 1))
            refused = observer.post("/api/captions", data=picture(), headers=JPEG, buffered=True)
            assert refused.status_code == 503
            text = scraped(observer)
            assert sum_of(text, "sightline_queue_length") == 1
            assert sum_of(text, "sightline_requests_under_way") == 1
            assert sum_of(text, "sightline_requests_total", outcome="refused") == 1
            busy = {"route": "/api/captions", "code": "busy"}
            assert sum_of(text, "sightline_http_errors_total", **busy) == 1
            stepped.allow(10_000)
            for answer in waiting:
                assert answer.result().status_code == 200
        wait_until(lambda: worker.queue.in_flight == 0)
        text = scraped(observer)
        assert sum_of(text, "sightline_queue_length") == 0
        assert sum_of(text, "sightline_worker_restarts_total") == 0


def test_http_requests_are_counted_by_route_and_status(client: FlaskClient) -> None:
    expected: dict[tuple[str, str, str], int] = defaultdict(int)
    for method, path, status, times in (
        ("GET", "/healthz", 200, 3),
        ("GET", "/", 200, 1),
        ("POST", "/api/captions", 400, 2),
        ("PUT", "/api/captions", 405, 1),
        ("GET", "/static/js/nothing.js", 404, 2),
    ):
        for _ in range(times):
            answer = client.open(path, method=method, data=b"x", headers=JPEG, buffered=True)
            assert answer.status_code == status
        rule = {405: "unknown", 404: "/static/<path:filename>"}.get(status, path)
        expected[rule, method, str(status)] += times
    text = scraped(client)
    for (route, method, status_text), times in expected.items():
        labels = {"route": route, "method": method, "status": status_text}
        assert sum_of(text, "sightline_http_requests_total", **labels) == times
    assert sum_of(text, "sightline_http_requests_total") == sum(expected.values())
    assert sum_of(text, "sightline_http_request_seconds_count") == sum(expected.values())
    errors = {"route": "/api/captions", "code": "bad_image"}
    assert sum_of(text, "sightline_http_errors_total", **errors) == 2


def test_client_input_creates_no_series(client: FlaskClient) -> None:
    def request_made_up_names(number: int) -> None:
        path = f"/made-up-{number}/../%2f"
        client.open(path, method=f"MADEUP{number}", buffered=True)
        camera = f"made-up-{number}"
        url = f"/api/captions?camera={camera}&prompt={camera}&max_tokens=1"
        client.post(url, data=picture(), headers={**JPEG, "User-Agent": camera}, buffered=True)

    request_made_up_names(0)
    before = scraped(client)
    for number in range(1, 20):
        request_made_up_names(number)
    after = scraped(client)
    assert "made-up" not in after.lower()
    assert "madeup" not in after.lower()

    # The scrapes themselves are counted too.
    def own(line: str) -> bool:
        return line.startswith("#") or 'route="/metrics"' in line

    lines_before, lines_after = (
        [line.rpartition(" ")[0] for line in text.splitlines() if not own(line)]
        for text in (before, after)
    )
    assert lines_after == lines_before


def test_applications_in_one_process_have_separate_metrics(web_worker: Worker) -> None:
    first, second = (app_over(web_worker).test_client() for _ in range(2))
    first.get("/healthz", buffered=True)
    assert sum_of(scraped(first), "sightline_http_requests_total", route="/healthz") == 1
    assert sum_of(scraped(second), "sightline_http_requests_total", route="/healthz") == 0


def test_the_loaded_model_is_reported_by_name(client: FlaskClient, web_worker: Worker) -> None:
    info = web_worker.info
    assert info is not None
    text = scraped(client)
    labels = {"model": info.model, "runtime": info.runtime, "device": info.device}
    assert sum_of(text, "sightline_model_info", **labels) == 1
    assert sum_of(text, "sightline_model_ready") == 1
    assert sum_of(text, "sightline_build_info") == 1


def test_metrics_are_served_without_a_model() -> None:
    worker = Worker(lambda: pytest.fail("not started"), max_queue=1)
    text = scraped(app_over(worker).test_client())
    assert sum_of(text, "sightline_model_ready") == 0
    assert "sightline_model_info" not in text


def test_upstream_requests_are_counted_by_origin(web_worker: Worker) -> None:
    with served(web_worker, Settings()) as (port, _):
        origin = f"http://127.0.0.1:{port}"
        settings = Settings(engine="openai", base_url=(origin, f"{origin}/v1"))
        models = Models(settings)
        try:
            client = create_app(settings, models).test_client()
            before = scraped(client)
            assert sum_of(before, "sightline_upstream_healthy", upstream=origin) == 0
            models.start()
            wait_until(lambda: all(each.healthy for each in models.upstreams()))
            wait_until(lambda: models.worker.state == "ready")
            for _ in range(3):
                answer = client.post("/api/captions", data=picture(), headers=JPEG)
                assert read_events(answer.text)[-1][0] == "done"
            text = scraped(client)
        finally:
            models.close(timeout_s=HANG_GUARD_S)
        local = scraped(app_over(web_worker).test_client())
    assert sum_of(text, "sightline_upstream_requests_total", upstream=origin) == 3
    assert sum_of(text, "sightline_upstream_failures_total", upstream=origin) == 0
    assert sum_of(text, "sightline_upstream_outstanding", upstream=origin) == 0
    assert sum_of(text, "sightline_upstream_healthy", upstream=origin) == 1
    assert sum_of(text, "sightline_requests_total", outcome="done") == 3
    # A server that runs the model itself has no upstreams.
    assert "upstream" not in local


def test_process_memory_and_cpu_time_are_reported(client: FlaskClient) -> None:
    text = scraped(client)
    resident_bytes = psutil.Process(os.getpid()).memory_info().rss
    assert sum_of(text, "process_resident_memory_bytes") == pytest.approx(resident_bytes, rel=0.2)
    assert sum_of(text, "process_cpu_seconds_total") > 0


def test_gpu_memory_is_left_out_without_a_gpu(client: FlaskClient) -> None:
    if sys.modules["torch"].cuda.is_initialized():
        pytest.skip("a GPU is in use")
    assert "gpu" not in scraped(client)
