"""The running model, the other available ones, and the change from one to another.

The worker's thread loads the first model. A change runs in a thread of its own: it downloads the
model if necessary, loads it, and hands it to the worker. The old model runs until then, and stays
if the change fails. If other servers run the model, there is no list and no change.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vlm.checkpoints.catalogue import BUNDLED_MODEL, display_name, resolve
from vlm.errors import (
    FetchCancelledError,
    ModelTooLargeError,
    OfflineError,
    SettingsError,
    SightlineError,
    SwitchingError,
    UnknownModelError,
)
from vlm.finder.finder import Finder
from vlm.models.candidates import (
    Change,
    ModelEntry,
    ModelsStatus,
    Problem,
    best_here,
    best_to_fetch,
    find_models,
)
from vlm.option_types import AUTO_MODEL
from vlm.scheduler.protocol import AnyEngine, load_error
from vlm.scheduler.worker import Worker
from vlm.settings import Settings

if TYPE_CHECKING:
    from vlm.checkpoints.hub import FetchProgress
    from vlm.remote.engine import RemoteEngine
    from vlm.remote.upstream import UpstreamStatus

log = logging.getLogger("sightline")

# The code of a Problem that is about the machine, not about a model.
DEVICE_PROBLEM: Final = "device_not_used"


class Models:
    """The models of one process and the worker that runs one of them. Safe from any thread."""

    def __init__(self, settings: Settings, worker: Worker | None = None) -> None:
        """By default `worker` loads the model that `settings` name; `start` starts it.

        Raise SettingsError if the key file for other servers cannot be read.
        """
        self.finder = Finder(settings)
        """The small models beside the running one."""
        self._settings = settings
        self._subscribers: tuple[Callable[[], None], ...] = ()
        self._remote = _remote_engine(settings, self._notify)
        self.worker = worker or Worker(self._load_first, settings.max_queue)
        self.worker.call_on_change(self._notify)
        self.worker.call_on_device_failure(self._on_device_failure)
        # Held while an engine is handed to the worker: one at a time.
        self._replacing = threading.Lock()
        # Guards the fields below.
        self._lock = threading.Lock()
        self._entries: tuple[ModelEntry, ...] = ()
        self._change: Change | None = None
        self._cancelled = threading.Event()
        self._problem: Problem | None = None
        # A reason for the CPU that a user has read.
        self._dismissed = ""
        self._first: str | None = settings.remote_model

    @property
    def first(self) -> str | None:
        """The name of the model that is loaded first; None until that is decided."""
        return self._first

    def start(self) -> None:
        """Begin to load the first model; return at once."""
        self.worker.start()

    def close(self, timeout_s: float) -> None:
        """End the worker and all connections to other servers, within `timeout_s`."""
        if self._remote is not None:
            self._remote.stop_waiting()
        self.worker.close(timeout_s)
        self.finder.close()

    def subscribe(self, on_change: Callable[[], None]) -> None:
        """Call `on_change`, from any thread, after each change of the status; it must be quick."""
        self._subscribers = (*self._subscribers, on_change)

    def upstreams(self) -> tuple[UpstreamStatus, ...]:
        """Return a snapshot of the servers that run the model; none if it runs here."""
        return () if self._remote is None else self._remote.upstreams()

    def status(self) -> ModelsStatus:
        """Return the listed models, the change in progress and the last problem."""
        info = self.worker.info
        running = info.model if info else None
        with self._lock:
            return ModelsStatus(
                auto=self._settings.model == AUTO_MODEL,
                offline=self._settings.offline,
                choices=tuple(each.listed(running) for each in self._entries),
                change=self._change,
                problem=self._problem or self._device_problem(),
            )

    def _device_problem(self) -> Problem | None:
        """Return why an accelerator that is here is not used, None if a user has dismissed that."""
        info = self.worker.info
        if info is None or not info.why_cpu or info.why_cpu == self._dismissed:
            return None
        return Problem(info.model, info.model, DEVICE_PROBLEM, info.why_cpu)

    def switch(self, name: str) -> None:
        """Begin to change to the model `name`, which is downloaded first if it is not here.

        Return at once. Raise UnknownModelError, SwitchingError during another change,
        ModelTooLargeError, or OfflineError for a model that may not be downloaded.
        """
        info = self.worker.info
        with self._lock:
            entry = next((each for each in self._entries if each.name == name), None)
            if entry is None:
                raise UnknownModelError(f"There is no model {name!r} to choose.")
            if self._change is not None:
                raise SwitchingError(
                    f"{self._change.title} is on its way already. Cancel that first, or wait."
                )
            if info is not None and info.model == name:
                if self._problem is not None or self._device_problem() is None:
                    self._problem = None
                    return
                # The user has closed other programs, or updated the driver.
                _forget_device()
            if not entry.fits:
                raise ModelTooLargeError(
                    f"{entry.title} needs more memory than is free here. Choose a smaller one."
                )
            if not entry.here and self._settings.offline:
                raise OfflineError(
                    f"{entry.title} is not on this machine, and --offline forbids to fetch it."
                )
            self._problem = None
            self._cancelled = threading.Event()
            self._change = Change(name, entry.title, "loading" if entry.here else "fetching")
            cancelled = self._cancelled
        threading.Thread(
            target=self._run_change, args=(entry, cancelled), name="models", daemon=True
        ).start()

    def cancel(self) -> None:
        """Cancel the change, if any: downloaded bytes are kept, a loaded model is not.

        Return at once. A download ends within about a second, a load when it has finished.
        """
        with self._lock:
            self._cancelled.set()
            if self._change is not None:
                self._change = replace(self._change, cancelling=True)
        self._notify()

    def dismiss(self) -> None:
        """Drop the last problem."""
        with self._lock:
            info = self.worker.info
            if self._problem is None and info is not None:
                self._dismissed = info.why_cpu
            self._problem = None
        self._notify()

    def refresh(self) -> None:
        """Read the disk and the free memory again; takes some tenths of a second."""
        try:
            found = tuple(find_models(self._settings))
        except SettingsError:
            # Such as an absent device: loading a model raises the same error.
            return
        except Exception:
            # A faulty disk or driver must not stop the bundled model.
            log.exception("The models on this machine could not be listed")
            return
        with self._lock:
            self._entries = found
        self._notify()

    def _load_first(self) -> AnyEngine:
        """Return the first engine, for the worker; begin to download a better one beside it."""
        if self._remote is not None:
            self._remote.open(self.worker.report)
            return self._with_finder(self._remote)
        self._test_device()
        name = self._settings.model
        if name == BUNDLED_MODEL:
            # Only the list of models needs it, so the load does not wait.
            threading.Thread(target=self.refresh, daemon=True).start()
            return self._load_as_first(BUNDLED_MODEL)
        self.refresh()
        if name == AUTO_MODEL:
            best = best_here(self._entries)
            wanted = None if best else best_to_fetch(self._entries)
        else:
            best = None
            wanted = next((each for each in self._entries if each.model == name), None)
            if wanted is None:
                return self._load_as_first(name)
            if wanted.here or self._settings.offline:
                return self._load_or_bundled(wanted)
        if best is not None:
            try:
                return self._load_as_first(best.model)
            except Exception as error:
                self._set_problem(best, error)
        if wanted is not None and not self._settings.offline:
            try:
                self.switch(wanted.name)
            except SightlineError as error:
                self._set_problem(wanted, error)
        return self._load_as_first(BUNDLED_MODEL)

    def _test_device(self) -> None:
        """Test the accelerator, if one is to be used, while the status says so."""
        # Imported here: the page opens before.
        from vlm.runtimes.accelerator import CHECK

        if self._settings.device == "auto" and self._settings.runtime != "openvino":
            CHECK.result(self.worker.report)

    def _load_or_bundled(self, wanted: ModelEntry) -> AnyEngine:
        """Return the engine of `wanted`, else of the bundled model; raise if that fails too."""
        try:
            return self._load_as_first(wanted.model)
        except Exception as error:
            try:
                engine = self._load_as_first(BUNDLED_MODEL)
            except Exception:
                raise error from None
            self._set_problem(wanted, error)
            return engine

    def _load_as_first(self, model: str) -> AnyEngine:
        self._first = display_name(model)
        return self._load(model, self.worker.report)

    def _load(self, model: str, on_progress: Callable[[str], None]) -> AnyEngine:
        # Imported in the loading thread: a runtime takes a while, and the page opens before.
        from vlm.checkpoints.files import model_size
        from vlm.models.loading import load_watched_engine

        engine = load_watched_engine(replace(self._settings, model=model), on_progress)
        return self._with_finder(engine, model_size(resolve(model)).parameters)

    def _with_finder(self, engine: AnyEngine, parameters: int = 0) -> AnyEngine:
        from vlm.finder.around import with_finder

        # Only now, so that no first caption waits for the small models.
        self.finder.start()
        return with_finder(engine, self.finder, self._settings, parameters)

    def _run_change(self, entry: ModelEntry, cancelled: threading.Event) -> None:
        try:
            self._change_to(entry, cancelled)
        except FetchCancelledError:
            pass
        except Exception as error:
            self._set_problem(entry, error)
        # The old engine, or a cancelled one, may hold gigabytes; free them now.
        gc.collect()
        self.refresh()
        with self._lock:
            self._change = None
        self._notify()

    def _change_to(self, entry: ModelEntry, cancelled: threading.Event) -> None:
        if not entry.here:
            self._fetch(entry, cancelled)
        self._update(step="loading", left_s=None, detail=None)
        engine = self._load(entry.model, lambda detail: self._update(detail=detail))
        if cancelled.is_set():
            raise FetchCancelledError(f"{entry.title} was cancelled.")
        with self._replacing:
            self.worker.replace(engine)

    def _on_device_failure(self, message: str) -> None:
        """Caption by the CPU from now on: an accelerator failed with the driver's `message`."""
        if self._settings.device != "auto":
            # The user wants this device and no other.
            self._set_device_problem(message)
            return
        threading.Thread(
            target=self._change_to_cpu, args=(message,), name="models", daemon=True
        ).start()

    def _set_device_problem(self, message: str) -> None:
        from vlm.runtimes.device_words import reason

        info = self.worker.info
        if info is not None:
            words = reason(message, is_named=True)
            with self._lock:
                self._problem = Problem(info.model, info.model, DEVICE_PROBLEM, words)
            self._notify()

    def _change_to_cpu(self, message: str) -> None:
        from vlm.runtimes.accelerator import CHECK

        CHECK.mark_failed(message)
        info = self.worker.info
        running = info.model if info else BUNDLED_MODEL
        try:
            # The bundled model first: it captions after a second.
            engine = self._load(BUNDLED_MODEL, lambda _: None)
            with self._replacing:
                self.worker.replace(engine)
            self.refresh()
            if running != BUNDLED_MODEL:
                self.switch(running)
        except SightlineError as error:
            entry = next((each for each in self._entries if each.name == running), None)
            if entry is not None:
                self._set_problem(entry, error)
        except Exception:
            log.exception("The CPU could not take over from the accelerator")

    def _fetch(self, entry: ModelEntry, cancelled: threading.Event) -> None:
        # Imported here: the hub's client takes half a second, and most starts do not need it.
        from vlm.checkpoints.hub import fetch

        def on_progress(progress: FetchProgress) -> None:
            self._update(
                received_bytes=progress.received_bytes,
                total_bytes=progress.total_bytes,
                bytes_per_s=progress.bytes_per_s,
                left_s=progress.left_s,
                detail=progress.note or None,
            )

        assert entry.hub_id is not None, "an absent model comes from the hub"
        fetch(entry.hub_id, entry.revision, on_progress, cancelled.is_set)

    def _update(self, **fields: object) -> None:
        with self._lock:
            if self._change is not None:
                self._change = replace(self._change, **fields)  # type: ignore[arg-type]
        self._notify()

    def _set_problem(self, entry: ModelEntry, error: Exception) -> None:
        if not isinstance(error, SightlineError):
            log.error("%s could not be loaded", entry.title, exc_info=error)
        reason = load_error(error)
        with self._lock:
            self._problem = Problem(entry.name, entry.title, reason.code, str(reason))
        self._notify()

    def _notify(self) -> None:
        for on_change in self._subscribers:
            on_change()


def _forget_device() -> None:
    # Imported here: a start does not need it.
    from vlm.runtimes.accelerator import CHECK

    CHECK.forget()


def _remote_engine(settings: Settings, on_change: Callable[[], None]) -> RemoteEngine | None:
    if settings.engine != "openai":
        return None
    # Imported here: its HTTP client takes a while, and most starts do not need it.
    from vlm.remote.engine import RemoteEngine

    return RemoteEngine(settings, on_change=on_change)
