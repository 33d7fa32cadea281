"""What the terminal is told of the models: where they run, what loads, what went wrong."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from vlm.models.candidates import Change, Problem
from vlm.models.manager import Models
from vlm.types import EngineInfo

if TYPE_CHECKING:
    from typing_extensions import Never

    from vlm.remote.upstream import UpstreamStatus

LOOK_EVERY_S = 0.1


def tell_of_start(models: Models, url: str) -> None:
    """Say where the page is, and that the model loads or where else it runs."""
    origins = list(dict.fromkeys(each.origin for each in models.upstreams()))
    if origins:
        _say(f"Open {url} in your browser. Frames are sent to {', '.join(origins)}.")
    else:
        _say(f"Open {url} in your browser. Loading the model ...")


def tell_of_models(models: Models, url: str) -> None:
    """Follow `models` and print what a person wants to know; never returns."""
    teller = _Teller(url)
    while True:
        teller.look(models)
        time.sleep(LOOK_EVERY_S)


class _Teller:
    def __init__(self, url: str) -> None:
        self._url = url
        self._info: EngineInfo | None = None
        self._progress = ""
        self._failed = False
        self._change: Change | None = None
        self._problem: Problem | None = None
        self._left_out: set[int] = set()
        self._bar: tqdm[Never] | None = None

    def look(self, models: Models) -> None:
        worker, status = models.worker, models.status()
        if worker.state == "loading" and worker.progress != self._progress:
            self._progress = worker.progress
            _say(self._progress)
        self._tell_change(status.change)
        info = worker.info
        if info is not None and info is not self._info:
            made_by = f"{info.model} ({_place(info)})"
            first = self._info is None
            self._info = info
            if first:
                _say(f"Ready: {self._url} captions by {made_by}. Ctrl-C ends it.")
            else:
                _say(f"From here on {self._url} captions by {made_by}.")
        if worker.state == "failed" and not self._failed:
            self._failed = True
            _complain(f"The model failed to load: {worker.error}")
        if status.problem != self._problem:
            self._problem = status.problem
            if self._problem is not None:
                _complain(f"{self._problem.title}: {self._problem.message}")
        if worker.state == "ready":
            self._tell_upstreams(models.upstreams())

    def _tell_upstreams(self, upstreams: Sequence[UpstreamStatus]) -> None:
        for index, upstream in enumerate(upstreams):
            if upstream.healthy and index in self._left_out:
                self._left_out.remove(index)
                _say(f"{upstream.origin} answers again.")
            elif not upstream.healthy and index not in self._left_out:
                self._left_out.add(index)
                _complain(f"{upstream.origin} {upstream.problem} It is left out until it answers.")

    def _tell_change(self, change: Change | None) -> None:
        before, self._change = self._change, change
        fetching = change is not None and change.step == "fetching"
        if change is not None and fetching and change.total_bytes:
            self._show_bar(change)
        if self._bar is not None and not fetching:
            self._bar.close()
            self._bar = None
        if change is None:
            if before is not None and before.cancelling:
                _say(f"{before.title} was given up.")
            return
        if before is None or before.step != change.step:
            doing = "Fetching" if fetching else "Loading"
            _say(f"{doing} {change.title} beside what runs now ...")
        if change.detail and (before is None or before.detail != change.detail):
            _say(change.detail)

    def _show_bar(self, change: Change) -> None:
        bar = self._bar = self._bar or _new_bar(change)
        bar.total = change.total_bytes
        bar.update(change.received_bytes - bar.n)


def _new_bar(change: Change) -> tqdm[Never]:
    # disable=None: no bar where nobody watches, in a log file or a pipe.
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
    """What runs the model, and where."""
    if info.remote:
        return f"at {', '.join(info.remote)}"
    return f"{info.runtime}, {info.device}, {info.dtype}"


def _say(words: str) -> None:
    tqdm.write(words)
    sys.stdout.flush()


def _complain(words: str) -> None:
    tqdm.write(words, file=sys.stderr)
    sys.stderr.flush()
