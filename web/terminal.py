"""The terminal's view of the models: where they run, what loads, what went wrong."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from tqdm import tqdm

from vlm.models.candidates import Change, Problem
from vlm.models.manager import DEVICE_PROBLEM, Models
from vlm.results import EngineInfo

if TYPE_CHECKING:
    from typing_extensions import Never

    from vlm.remote.upstream import UpstreamStatus

# By default tqdm shares a semaphore with child processes. Python 3.14 starts a process to look
# after it, which complains on stderr that it leaked, since the program ends by os._exit.
tqdm.set_lock(threading.RLock())


def follow_models(models: Models, url: str) -> None:
    """Print where the page is, then each change of `models`, from a thread of its own."""
    origins = list(dict.fromkeys(each.origin for each in models.upstreams()))
    if origins:
        _print(f"Open {url} in your browser. Frames are sent to {', '.join(origins)}.")
    else:
        _print(f"Open {url} in your browser. Loading the model ...")
    changed = threading.Event()
    changed.set()
    models.subscribe(changed.set)
    printer = _Printer(url)

    def run() -> None:
        # A thread, because a stopped terminal would block whoever prints.
        while True:
            changed.wait()
            changed.clear()
            # The terminal may have been closed; captions go on.
            with suppress(OSError, ValueError):
                printer.update(models)

    threading.Thread(target=run, name="terminal", daemon=True).start()


class _Printer:
    """Prints the differences between one status and the next."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._info: EngineInfo | None = None
        self._progress = ""
        self._failed = False
        self._change: Change | None = None
        self._problem: Problem | None = None
        self._device_problem = ""
        self._unhealthy: set[int] = set()
        self._bar: tqdm[Never] | None = None

    def update(self, models: Models) -> None:
        """Print what has changed since the last call."""
        worker, status = models.worker, models.status()
        if worker.state == "loading" and worker.progress != self._progress:
            self._progress = worker.progress
            _print(self._progress)
        self._print_change(status.change)
        info = worker.info
        if info is not None and info is not self._info:
            made_by = f"{info.model} ({_place(info)})"
            first = self._info is None
            self._info = info
            if first:
                _print(f"Ready: {self._url} captions by {made_by}. Ctrl-C ends it.")
            else:
                _print(f"From here on {self._url} captions by {made_by}.")
        if worker.state == "failed" and not self._failed:
            self._failed = True
            _print_error(f"The model failed to load: {worker.error}")
        if status.problem != self._problem:
            self._problem = status.problem
            if self._problem is not None:
                self._print_problem(self._problem)
        if worker.state == "ready":
            self._print_upstreams(models.upstreams())

    def _print_problem(self, problem: Problem) -> None:
        if problem.code != DEVICE_PROBLEM:
            _print_error(f"{problem.title}: {problem.message}")
        elif problem.message != self._device_problem:
            # Once: it comes back when another problem is dismissed.
            self._device_problem = problem.message
            _print_error(problem.message)

    def _print_upstreams(self, upstreams: Sequence[UpstreamStatus]) -> None:
        for index, upstream in enumerate(upstreams):
            if upstream.healthy and index in self._unhealthy:
                self._unhealthy.remove(index)
                _print(f"{upstream.origin} answers again.")
            elif not upstream.healthy and index not in self._unhealthy:
                self._unhealthy.add(index)
                _print_error(
                    f"{upstream.origin} {upstream.problem} It gets no frames until it answers."
                )

    def _print_change(self, change: Change | None) -> None:
        before, self._change = self._change, change
        fetching = change is not None and change.step == "fetching"
        if change is not None and fetching and change.total_bytes:
            self._show_bar(change)
        if self._bar is not None and not fetching:
            self._bar.close()
            self._bar = None
        if change is None:
            if before is not None and before.cancelling:
                _print(f"{before.title} was cancelled.")
            return
        if before is None or before.step != change.step:
            doing = "Downloading" if fetching else "Loading"
            _print(f"{doing} {change.title}; the current model runs meanwhile ...")
        if change.detail and (before is None or before.detail != change.detail):
            _print(change.detail)

    def _show_bar(self, change: Change) -> None:
        bar = self._bar = self._bar or _new_bar(change)
        bar.total = change.total_bytes
        bar.update(change.received_bytes - bar.n)


def _new_bar(change: Change) -> tqdm[Never]:
    # disable=None: no bar in a log file or a pipe.
    return tqdm(
        desc=change.title,
        total=change.total_bytes,
        initial=change.received_bytes,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,
    )


def _place(info: EngineInfo) -> str:
    """Return what runs the model, and where."""
    if info.remote:
        return f"at {', '.join(info.remote)}"
    return f"{info.runtime}, {info.device}, {info.dtype}"


def _print(text: str) -> None:
    tqdm.write(text)
    sys.stdout.flush()


def _print_error(text: str) -> None:
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()
