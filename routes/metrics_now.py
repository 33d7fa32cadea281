"""What `/metrics` reads at the moment it is asked: queue, model, upstreams, memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import psutil
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from vlm import __version__
from vlm.models import Models
from vlm.remote.upstream import UpstreamStatus

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
