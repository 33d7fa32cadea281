"""`GET /metrics`: what the server did and does, in Prometheus' text format.

Labels have few values each: never a camera, a path that somebody made up, or anybody's words.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final, get_args

import psutil
from flask import Blueprint, Response
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from vlm import __version__
from vlm.models.manager import Models
from vlm.remote.upstream import UpstreamStatus
from vlm.types import Outcome, Record
from web.request_log import RequestLog

KINDS: Final = ("live", "question")
UNKNOWN_ROUTE: Final = "unknown"
# From the bundled model on a good machine to a large one that tiles on a CPU.
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
BATCH_SIZES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

_TOKENS: Final = (
    ("generated_tokens", "tokens", "Tokens that were generated."),
    ("prompt_tokens", "prompt_tokens", "Tokens that were read, those of images among them."),
    ("image_tokens", "image_tokens", "Tokens of images that were read."),
    ("drafted_tokens", "drafted", "Tokens that were guessed from an older answer."),
    ("accepted_tokens", "accepted", "Guessed tokens that were right."),
)


class Metrics:
    """Counts what one application did. It watches the worker, and is told of each HTTP answer."""

    def __init__(self, models: Models) -> None:
        # When each series began is known by Prometheus, and would double the lines.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        registry.register(MetricsNow(models))
        self._registry = registry
        self._requests = Counter(
            "sightline_requests",
            "Requests that the worker was asked, by how they ended: done, cancelled by who asked, "
            "superseded by a newer frame, refused since too many waited, or failed.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._ttft_s = Histogram(
            "sightline_time_to_first_token_seconds",
            "From the start of the work on a request, its wait not counted, to its first token.",
            ["kind"],
            registry=registry,
            buckets=SECONDS,
        )
        self._total_s = Histogram(
            "sightline_caption_seconds",
            "The work on a whole answer, its wait not counted.",
            ["kind"],
            registry=registry,
            buckets=SECONDS,
        )
        self._queued_s = Histogram(
            "sightline_queued_seconds",
            "How long a request waited for the model, however it ended.",
            ["kind"],
            registry=registry,
            buckets=SECONDS,
        )
        self._tokens = {
            field: Counter(f"sightline_{name}", words, registry=registry)
            for name, field, words in _TOKENS
        }
        self._batch_size = Histogram(
            "sightline_batch_size",
            "Requests that were advanced together by one step of the model.",
            registry=registry,
            buckets=BATCH_SIZES,
        )
        self._answers = Counter(
            "sightline_http_requests",
            "HTTP requests that were answered, to their end or until the client hung up.",
            ["route", "method", "status"],
            registry=registry,
        )
        self._answer_s = Histogram(
            "sightline_http_request_seconds",
            "From an HTTP request, received as a whole, to the end of its answer.",
            ["route"],
            registry=registry,
            buckets=SECONDS,
        )
        self._errors = Counter(
            "sightline_http_errors",
            "HTTP answers with an error, by its code, those among them whose stream ended in one.",
            ["route", "code"],
            registry=registry,
        )
        # A series that appears with its first event hides that event from Prometheus' rates.
        for kind in KINDS:
            for outcome in get_args(Outcome):
                self._requests.labels(kind, outcome)
            for histogram in (self._ttft_s, self._total_s, self._queued_s):
                histogram.labels(kind)

    def request_ended(self, record: Record) -> None:
        """See `Subscriber`."""
        kind = "live" if record.live else "question"
        self._requests.labels(kind, record.outcome).inc()
        if record.outcome != "refused":
            self._queued_s.labels(kind).observe(record.queued_s)
        if record.stats is not None:
            if record.stats.tokens:
                self._ttft_s.labels(kind).observe(record.stats.ttft_s)
            self._total_s.labels(kind).observe(record.stats.total_s)
            for field, counter in self._tokens.items():
                counter.inc(getattr(record.stats, field))

    def pass_ran(self, batch_size: int) -> None:
        """See `Subscriber`."""
        self._batch_size.observe(batch_size)

    def answered(self, entry: RequestLog) -> None:
        """One HTTP answer is over."""
        route = entry.route or UNKNOWN_ROUTE
        self._answers.labels(route, entry.method, str(entry.status)).inc()
        if entry.seconds is not None:
            self._answer_s.labels(route).observe(entry.seconds)
        if entry.error_code is not None:
            self._errors.labels(route, entry.error_code).inc()

    def text(self) -> bytes:
        """All of it as it is now, in Prometheus' text format."""
        return generate_latest(self._registry)


def metrics_blueprint(metrics: Metrics) -> Blueprint:
    """The route; it answers while the model loads and while it is busy."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def tell() -> Response:
        # One format for all: choosing by the Accept header would trust what it says.
        return Response(metrics.text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return blueprint


_UPSTREAM_COUNTERS: Final = (
    ("requests", "Requests that were sent to another server."),
    ("failures", "Requests that another server failed."),
    ("retries", "Requests that were sent once more after a failure."),
)


class MetricsNow(Collector):
    """Looks anew each time; takes about a millisecond and waits for nothing."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._process = psutil.Process()

    def collect(self) -> Iterator[Metric]:
        """All families, each with its samples."""
        yield InfoMetricFamily("sightline_build", "This program.", {"version": __version__})
        yield from self._worker()
        yield from self._upstreams()
        yield from self._memory()
        yield from _gpu_memory()

    def _worker(self) -> Iterator[Metric]:
        worker = self._models.worker
        info = worker.info
        ready = info is not None and worker.state == "ready"
        yield _gauge("sightline_model_ready", "1 once a model is there to caption.", ready)
        if info is not None:
            labels = {name: str(value) for name, value in asdict(info).items()}
            kept = ("model", "runtime", "device", "dtype")
            yield InfoMetricFamily(
                "sightline_model", "The model that captions.", {name: labels[name] for name in kept}
            )
        yield _gauge("sightline_queue_length", "Requests that wait for the model.", worker.waiting)
        yield _gauge(
            "sightline_requests_under_way",
            "Requests that the model works on.",
            worker.under_way,
        )
        yield CounterMetricFamily(
            "sightline_worker_restarts",
            "Times that the thread which owns the model ended by itself and was begun anew.",
            worker.restarts,
        )

    def _upstreams(self) -> Iterator[Metric]:
        by_origin: dict[str, list[UpstreamStatus]] = {}
        for upstream in self._models.upstreams():
            by_origin.setdefault(upstream.origin, []).append(upstream)
        if not by_origin:
            return
        families = [
            CounterMetricFamily(f"sightline_upstream_{name}", words, labels=["upstream"])
            for name, words in _UPSTREAM_COUNTERS
        ]
        outstanding = GaugeMetricFamily(
            "sightline_upstream_outstanding",
            "Requests that another server works on.",
            labels=["upstream"],
        )
        healthy = GaugeMetricFamily(
            "sightline_upstream_healthy",
            "1 where another server answers, 0 where it is left out.",
            labels=["upstream"],
        )
        for origin, there in by_origin.items():
            for family, (name, _) in zip(families, _UPSTREAM_COUNTERS, strict=True):
                family.add_metric([origin], sum(getattr(each, name) for each in there))
            outstanding.add_metric([origin], sum(each.outstanding for each in there))
            healthy.add_metric([origin], float(all(each.healthy for each in there)))
        yield from families
        yield outstanding
        yield healthy

    def _memory(self) -> Iterator[Metric]:
        yield _gauge(
            "process_resident_memory_bytes",
            "Memory of this process that is in RAM.",
            self._process.memory_info().rss,
        )
        times = self._process.cpu_times()
        yield CounterMetricFamily(
            "process_cpu_seconds",
            "Time of all cores that this process used.",
            times.user + times.system,
        )
        yield _gauge(
            "process_start_time_seconds",
            "When this process began, in seconds since 1970.",
            self._process.create_time(),
        )


def _gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, float(value))


def _gpu_memory() -> Iterator[Metric]:
    # Only what a model has loaded is asked; importing torch here would cost seconds and memory.
    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return
    memory = GaugeMetricFamily(
        "sightline_gpu_memory_bytes",
        "Memory that torch holds on a GPU.",
        labels=["device"],
    )
    for index in range(cuda.device_count()):
        memory.add_metric([f"cuda:{index}"], cuda.memory_reserved(index))
    yield memory
