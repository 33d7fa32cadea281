"""Which model runs, what else could, and the one change from one to another.

The first model is loaded by the worker's own thread. A change happens beside it: a thread fetches
the model where it is not here, loads it, and hands it to the worker, which goes on with the old one
until then and for good where anything fails. Where other servers run the model there is nothing to
choose here.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from vlm.checkpoints.catalogue import BUNDLED_MODEL, display_name
from vlm.errors import (
    FetchCancelledError,
    ModelTooLargeError,
    OfflineError,
    SettingsError,
    SightlineError,
    SwitchingError,
    UnknownModelError,
)
from vlm.models.candidates import (
    Candidate,
    Change,
    ModelsStatus,
    Problem,
    Step,
    best_here,
    best_to_fetch,
    candidates,
    choice_of,
)
from vlm.scheduler.protocol import load_error
from vlm.scheduler.worker import Worker
from vlm.settings import AUTO_MODEL, Settings

if TYPE_CHECKING:
    from vlm.checkpoints.hub import FetchProgress
    from vlm.engine.engine import Engine
    from vlm.remote.engine import RemoteEngine
    from vlm.remote.upstream import UpstreamStatus

log = logging.getLogger("sightline")


class Models:
    """The models of one process and the worker that runs one of them. Safe from any thread."""

    def __init__(self, settings: Settings, worker: Worker | None = None) -> None:
        """`worker` is one that loads what it likes; by default one that loads what `settings` ask.

        `start` begins either. Raises SettingsError where the key for other servers is not there.
        """
        self._settings = settings
        self._remote = _remote_engine(settings)
        self.worker = worker or Worker(self._load_first, settings.max_queue)
        # Guards the fields below.
        self._lock = threading.Lock()
        self._candidates: tuple[Candidate, ...] = ()
        self._change: Change | None = None
        self._cancelled = threading.Event()
        self._problem: Problem | None = None
        self._first: str | None = settings.remote_model

    @property
    def first(self) -> str | None:
        """The name of the model that is loaded first; None while that is still being found out."""
        return self._first

    def start(self) -> None:
        """Begin to load the first model; returns at once."""
        self.worker.start()

    def close(self, timeout_s: float) -> None:
        """End the worker, and the talk with other servers, after `timeout_s` at the latest."""
        if self._remote is not None:
            self._remote.stop_waiting()
        self.worker.close(timeout_s)

    def upstreams(self) -> tuple[UpstreamStatus, ...]:
        """The servers that run the model, as they are now; none where it runs here."""
        return () if self._remote is None else self._remote.upstreams()

    def status(self) -> ModelsStatus:
        """What is here, what runs, what changes and what went wrong."""
        info = self.worker.info
        running = info.model if info else None
        with self._lock:
            return ModelsStatus(
                auto=self._settings.model == AUTO_MODEL,
                offline=self._settings.offline,
                choices=tuple(choice_of(each, running) for each in self._candidates),
                change=self._change,
                problem=self._problem,
            )

    def switch(self, name: str) -> None:
        """Begin to change to the model of that name, which is fetched first where it is not here.

        Returns at once. Raises UnknownModelError, SwitchingError while another change is under way,
        ModelTooLargeError, or OfflineError for one that is not here and must not be fetched.
        """
        info = self.worker.info
        with self._lock:
            candidate = next((each for each in self._candidates if each.name == name), None)
            if candidate is None:
                raise UnknownModelError(f"There is no model {name!r} to choose.")
            if self._change is not None:
                raise SwitchingError(
                    f"{self._change.title} is on its way already. Cancel that first, or wait."
                )
            if info is not None and info.model == name:
                self._problem = None
                return
            if not candidate.fits:
                raise ModelTooLargeError(
                    f"{candidate.title} needs more memory than is free here. Choose a smaller one."
                )
            if not candidate.here and self._settings.offline:
                raise OfflineError(
                    f"{candidate.title} is not on this machine, and --offline forbids to fetch it."
                )
            self._problem = None
            self._cancelled = threading.Event()
            self._change = Change(name, candidate.title, _first_step(candidate))
            cancelled = self._cancelled
        threading.Thread(
            target=self._run_change, args=(candidate, cancelled), name="models", daemon=True
        ).start()

    def cancel(self) -> None:
        """Give up the change under way, if any: what was fetched is kept, what was loaded is not.

        Returns at once; the change ends within about a second of fetching, or when it has loaded.
        """
        with self._lock:
            self._cancelled.set()
            if self._change is not None:
                self._change = replace(self._change, cancelling=True)

    def dismiss(self) -> None:
        """Forget the problem."""
        with self._lock:
            self._problem = None

    def look(self) -> None:
        """See anew what is here and what fits; takes some tenths of a second."""
        try:
            found = tuple(candidates(self._settings))
        except SettingsError:
            # A device that is not here, for one: whoever loads a model is told.
            return
        except Exception:
            # Whatever is the matter with a disk or a driver, the bundled model can caption.
            log.exception("The models on this machine could not be looked through")
            return
        with self._lock:
            self._candidates = found

    def _load_first(self) -> Engine | RemoteEngine:
        """For the worker: the engine to begin with; what is to be fetched for it begins beside."""
        if self._remote is not None:
            self._remote.open(self.worker.report)
            return self._remote
        asked = self._settings.model
        if asked == BUNDLED_MODEL:
            # Only people who open the list of models wait for this look.
            threading.Thread(target=self.look, daemon=True).start()
            return self._load_as_first(BUNDLED_MODEL)
        self.look()
        if asked == AUTO_MODEL:
            best = best_here(self._candidates)
            wanted = None if best else best_to_fetch(self._candidates)
        else:
            best = None
            wanted = next((each for each in self._candidates if each.model == asked), None)
            if wanted is None or wanted.here or self._settings.offline:
                return self._load_as_first(asked)
        if best is not None:
            try:
                return self._load_as_first(best.model)
            except Exception as error:
                self._tell_problem(best, error)
        if wanted is not None and not self._settings.offline:
            try:
                self.switch(wanted.name)
            except SightlineError as error:
                self._tell_problem(wanted, error)
        return self._load_as_first(BUNDLED_MODEL)

    def _load_as_first(self, model: str) -> Engine:
        self._first = display_name(model)
        return self._load(model, self.worker.report)

    def _load(self, model: str, on_progress: Callable[[str], None]) -> Engine:
        # Imported in the thread that loads: a runtime takes a while, and the page opens before.
        from vlm.models.loading import load_engine

        return load_engine(replace(self._settings, model=model), on_progress)

    def _run_change(self, candidate: Candidate, cancelled: threading.Event) -> None:
        try:
            self._change_to(candidate, cancelled)
        except FetchCancelledError:
            pass
        except Exception as error:
            self._tell_problem(candidate, error)
        # The old engine, or one that was given up, is some gigabytes that should go now.
        gc.collect()
        self.look()
        with self._lock:
            self._change = None

    def _change_to(self, candidate: Candidate, cancelled: threading.Event) -> None:
        if not candidate.here:
            self._fetch(candidate, cancelled)
        self._update(step="loading", left_s=None, detail=None)
        engine = self._load(candidate.model, lambda detail: self._update(detail=detail))
        if cancelled.is_set():
            raise FetchCancelledError(f"{candidate.title} was given up.")
        self.worker.replace(engine)

    def _fetch(self, candidate: Candidate, cancelled: threading.Event) -> None:
        # The hub's client takes half a second to import, which most starts can do without.
        from vlm.checkpoints.hub import fetch

        def on_progress(progress: FetchProgress) -> None:
            self._update(
                received_bytes=progress.received_bytes,
                total_bytes=progress.total_bytes,
                bytes_per_s=progress.bytes_per_s,
                left_s=progress.left_s,
                detail=progress.note or None,
            )

        assert candidate.hub_id is not None, "what is not here comes from the hub"
        fetch(candidate.hub_id, candidate.revision, on_progress, cancelled.is_set)

    def _update(self, **fields: object) -> None:
        with self._lock:
            if self._change is not None:
                self._change = replace(self._change, **fields)  # type: ignore[arg-type]

    def _tell_problem(self, candidate: Candidate, error: Exception) -> None:
        if not isinstance(error, SightlineError):
            log.error("%s could not be loaded", candidate.title, exc_info=error)
        told = load_error(error)
        with self._lock:
            self._problem = Problem(candidate.name, candidate.title, told.code, str(told))


def _remote_engine(settings: Settings) -> RemoteEngine | None:
    if settings.engine != "openai":
        return None
    # Imported here: its client of HTTP takes a while, and most starts need none.
    from vlm.remote.engine import RemoteEngine

    return RemoteEngine(settings)


def _first_step(candidate: Candidate) -> Step:
    return "loading" if candidate.here else "fetching"
