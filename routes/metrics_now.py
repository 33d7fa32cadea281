"""What `/metrics` reads at the moment it is asked: queue, model, memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import psutil
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from vlm import __version__
from vlm.models import Models


class MetricsNow(Collector):
    """Looks anew each time; takes about a millisecond and waits for nothing."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._process = psutil.Process()

    def collect(self) -> Iterator[Metric]:
        """All families, each with its samples."""
        yield InfoMetricFamily("sightline_build", "This program.", {"version": __version__})
        yield from self._worker()
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
