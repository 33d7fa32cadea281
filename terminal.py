"""What the terminal is told of the models: what loads, what is fetched, what went wrong."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from vlm.models import Change, Models, Problem
from vlm.types import EngineInfo

if TYPE_CHECKING:
    from typing_extensions import Never

LOOK_EVERY_S = 0.1


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
        self._bar: tqdm[Never] | None = None

    def look(self, models: Models) -> None:
        worker, status = models.worker, models.status()
        if worker.state == "loading" and worker.progress != self._progress:
            self._progress = worker.progress
            _say(self._progress)
        self._tell_change(status.change)
        info = worker.info
        if info is not None and info is not self._info:
            made_by = f"{info.model} ({info.runtime}, {info.device}, {info.dtype})"
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


def _say(words: str) -> None:
    tqdm.write(words)
    sys.stdout.flush()


def _complain(words: str) -> None:
    tqdm.write(words, file=sys.stderr)
    sys.stderr.flush()
