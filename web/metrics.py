"""`GET /metrics`: counters and gauges in Prometheus' text format.

A label has few values: never a camera name, an unknown path, or text of a client.
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
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from vlm import __version__
from vlm.events import Record
from vlm.models.manager import Models
from vlm.remote.upstream import UpstreamStatus
from vlm.results import By, Scored, Verdict
from vlm.scheduler.controller import Controller
from vlm.types import Detail, Outcome
from web.request_log import RequestLog

KINDS: Final = ("live", "question")
UNKNOWN_ROUTE: Final = "unknown"
# Bucket bounds: from the bundled model on a fast machine to a large one with tiling on a CPU.
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
BATCH_SIZES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)

_TOKENS: Final = (
    ("generated_tokens", "tokens", "Generated tokens."),
    ("prompt_tokens", "prompt_tokens", "Prompt tokens, image tokens included."),
    ("image_tokens", "image_tokens", "Image tokens in prompts."),
    ("encoded_patches", "patches", "Patches of cameras' frames that were encoded."),
    ("drafted_tokens", "drafted", "Tokens drafted from an earlier answer."),
    ("accepted_tokens", "accepted", "Drafted tokens that were accepted."),
)


# Of cameras' frames that are encoded in part, since the model was loaded.
_KEPT: Final = (
    ("kept_error", "error", "Relative error of features that were kept, as measured last."),
    ("kept_checks", "checks", "Captions compared with that of the frame encoded whole."),
    ("kept_agreed", "agreed", "Those of them that were the same."),
)


class Metrics:
    """The metrics of one application: a subscriber of the worker, and of finished HTTP requests."""

    def __init__(self, models: Models, controller: Controller) -> None:
        # A `_created` line per series would double the output, and Prometheus ignores it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        registry.register(CurrentState(models, controller))
        self._registry = registry
        self._requests = Counter(
            "sightline_requests",
            "Requests submitted to the worker, by outcome: done, cancelled by the client, "
            "superseded by a newer frame, refused because the queue was full, or failed.",
            ["kind", "outcome"],
            registry=registry,
        )
        self._ttft_s = Histogram(
            "sightline_time_to_first_token_seconds",
            "Time from the start of work on a request to its first token, without the wait.",
            ["kind"],
            registry=registry,
            buckets=SECONDS,
        )
        self._total_s = Histogram(
            "sightline_caption_seconds",
            "Work on a whole answer, without the wait.",
            ["kind"],
            registry=registry,
            buckets=SECONDS,
        )
        self._queued_s = Histogram(
            "sightline_queued_seconds",
            "Time a request waited in the queue, whatever its outcome.",
            ["kind"],
            registry=registry,
            buckets=SECONDS,
        )
        self._tokens = {
            field: Counter(f"sightline_{name}", description, registry=registry)
            for name, field, description in _TOKENS
        }
        self._kept = {
            field: Gauge(f"sightline_{name}", description, registry=registry)
            for name, field, description in _KEPT
        }
        self._batch_size = Histogram(
            "sightline_batch_size",
            "Requests that one step of the model advanced together.",
            registry=registry,
            buckets=BATCH_SIZES,
        )
        self._captions = Counter(
            "sightline_captions",
            "Answers by their maker: the model, the object finder or the reader of text.",
            ["by"],
            registry=registry,
        )
        self._live_captions = Counter(
            "sightline_live_captions",
            "Captions of live frames by the side of their tile.",
            ["detail"],
            registry=registry,
        )
        self._checks = Counter(
            "sightline_checks",
            "Nouns of answers that were compared with what detector and classifier saw.",
            ["verdict"],
            registry=registry,
        )
        self._answers = Counter(
            "sightline_http_requests",
            "HTTP requests answered, to the end or until the client disconnected.",
            ["route", "method", "status"],
            registry=registry,
        )
        self._answer_s = Histogram(
            "sightline_http_request_seconds",
            "Time from a completely received HTTP request to the end of its answer.",
            ["route"],
            registry=registry,
            buckets=SECONDS,
        )
        self._errors = Counter(
            "sightline_http_errors",
            "HTTP answers that were an error, or a stream that ended in one, by error code.",
            ["route", "code"],
            registry=registry,
        )
        # Create every series now: one that starts at 1 hides its first event from `rate()`.
        for kind in KINDS:
            for outcome in get_args(Outcome):
                self._requests.labels(kind, outcome)
            for histogram in (self._ttft_s, self._total_s, self._queued_s):
                histogram.labels(kind)
        for maker in get_args(By):
            self._captions.labels(maker)
        for detail in get_args(Detail):
            self._live_captions.labels(detail)
        for verdict in get_args(Verdict):
            self._checks.labels(verdict)

    def request_ended(self, record: Record) -> None:
        """Count one finished request of the worker."""
        kind = record.request.kind
        self._requests.labels(kind, record.outcome).inc()
        if record.outcome != "refused":
            self._queued_s.labels(kind).observe(record.queued_s)
        if record.result is not None:
            stats = record.result.stats
            if stats.tokens:
                self._ttft_s.labels(kind).observe(stats.ttft_s)
            self._total_s.labels(kind).observe(stats.total_s)
            if not isinstance(record.result, Scored):
                self._captions.labels(stats.by).inc()
            if kind == "live":
                self._live_captions.labels(record.request.task.detail).inc()
            for field, gauge in self._kept.items():
                if stats.kept is not None:
                    gauge.set(getattr(stats.kept, field))
            for check in stats.checks:
                self._checks.labels(check.verdict).inc()
            for field, counter in self._tokens.items():
                counter.inc(getattr(stats, field))

    def step_ran(self, batch_size: int) -> None:
        """Count one step of the worker."""
        self._batch_size.observe(batch_size)

    def answered(self, entry: RequestLog) -> None:
        """Count one finished HTTP request."""
        route = entry.route or UNKNOWN_ROUTE
        self._answers.labels(route, entry.method, str(entry.status)).inc()
        if entry.seconds is not None:
            self._answer_s.labels(route).observe(entry.seconds)
        if entry.final_error_code is not None:
            self._errors.labels(route, entry.final_error_code).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


def metrics_blueprint(metrics: Metrics) -> Blueprint:
    """Return the route; it answers while the model loads and while it is busy."""
    blueprint = Blueprint("metrics", __name__)

    @blueprint.get("/metrics")
    def metrics_text() -> Response:
        # One format for all clients, whatever their Accept header says.
        return Response(metrics.text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return blueprint


_UPSTREAM_COUNTERS: Final = (
    ("requests", "Requests sent to another server."),
    ("failures", "Requests that failed on another server."),
    ("retries", "Requests sent again after a failure."),
)


class CurrentState(Collector):
    """Values that are read at each scrape, in about a millisecond; it never waits for the model."""

    def __init__(self, models: Models, controller: Controller) -> None:
        self._models = models
        self._controller = controller
        self._process = psutil.Process()

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        yield InfoMetricFamily("sightline_build", "The running version.", {"version": __version__})
        yield from self._worker()
        yield from self._live()
        yield from self._finder()
        yield from self._upstreams()
        yield from self._memory()
        yield from _gpu_memory()

    def _worker(self) -> Iterator[Metric]:
        worker = self._models.worker
        queue, info = worker.queue, worker.info
        ready = info is not None and worker.state == "ready"
        yield _gauge("sightline_model_ready", "1 if a model is loaded and can answer.", ready)
        if info is not None:
            labels = {name: str(value) for name, value in asdict(info).items()}
            kept = ("model", "runtime", "device", "dtype")
            yield InfoMetricFamily(
                "sightline_model", "The loaded model.", {name: labels[name] for name in kept}
            )
        yield _gauge("sightline_queue_length", "Requests waiting for the model.", queue.waiting)
        yield _gauge(
            "sightline_requests_under_way",
            "Requests in flight.",
            queue.in_flight,
        )
        yield CounterMetricFamily(
            "sightline_worker_restarts",
            "Restarts of the thread that owns the model, after it failed.",
            worker.restarts,
        )

    def _live(self) -> Iterator[Metric]:
        live = self._controller.status()
        yield _gauge("sightline_cameras", "Cameras that sent a live frame lately.", live.cameras)
        if live.chosen is not None:
            yield _gauge(
                "sightline_live_interval_seconds",
                "Chosen time between two live frames of the camera that sent the newest one.",
                live.chosen.interval_s,
            )
            yield _gauge(
                "sightline_live_latency_seconds",
                "The most to expect from a change in front of that camera to the end of its "
                "caption.",
                live.chosen.latency_s,
            )

    def _finder(self) -> Iterator[Metric]:
        loaded = GaugeMetricFamily(
            "sightline_small_model_loaded",
            "1 if a small model beside the one that captions is loaded.",
            labels=["part"],
        )
        failures = CounterMetricFamily(
            "sightline_small_model_failures",
            "Failures of a small model: of its load, or on a frame.",
            labels=["part"],
        )
        for part in self._models.finder.parts():
            loaded.add_metric([part.kind], float(part.is_loaded))
            failures.add_metric([part.kind], part.failures)
        yield loaded
        yield failures

    def _upstreams(self) -> Iterator[Metric]:
        by_origin: dict[str, list[UpstreamStatus]] = {}
        for upstream in self._models.upstreams():
            by_origin.setdefault(upstream.origin, []).append(upstream)
        if not by_origin:
            return
        families = [
            CounterMetricFamily(f"sightline_upstream_{name}", description, labels=["upstream"])
            for name, description in _UPSTREAM_COUNTERS
        ]
        outstanding = GaugeMetricFamily(
            "sightline_upstream_outstanding",
            "Requests in flight on another server.",
            labels=["upstream"],
        )
        healthy = GaugeMetricFamily(
            "sightline_upstream_healthy",
            "1 if another server answers, 0 if it gets no requests.",
            labels=["upstream"],
        )
        for origin, statuses in by_origin.items():
            for family, (name, _) in zip(families, _UPSTREAM_COUNTERS, strict=True):
                family.add_metric([origin], sum(getattr(status, name) for status in statuses))
            outstanding.add_metric([origin], sum(status.outstanding for status in statuses))
            healthy.add_metric([origin], float(all(status.healthy for status in statuses)))
        yield from families
        yield outstanding
        yield healthy

    def _memory(self) -> Iterator[Metric]:
        yield _gauge(
            "process_resident_memory_bytes",
            "Resident memory of this process.",
            self._process.memory_info().rss,
        )
        times = self._process.cpu_times()
        yield CounterMetricFamily(
            "process_cpu_seconds",
            "CPU time of this process, over all cores.",
            times.user + times.system,
        )
        yield _gauge(
            "process_start_time_seconds",
            "Start time of this process, in seconds since 1970.",
            self._process.create_time(),
        )


def _gauge(name: str, description: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, description, float(value))


def _gpu_memory() -> Iterator[Metric]:
    # Use torch only if a model has loaded it: importing it here would cost seconds and memory.
    torch: Any = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return
    memory = GaugeMetricFamily(
        "sightline_gpu_memory_bytes",
        "GPU memory reserved by torch.",
        labels=["device"],
    )
    for index in range(cuda.device_count()):
        memory.add_metric([f"cuda:{index}"], cuda.memory_reserved(index))
    yield memory
