"""The models that could run here, which suits this machine best, and how a change proceeds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from vlm.checkpoints.catalogue import (
    BUNDLED_MODEL,
    KNOWN_MODELS,
    complete_folder,
    display_name,
    known_model,
)
from vlm.checkpoints.files import model_size
from vlm.checkpoints.hub_cache import CachedRepository
from vlm.errors import SettingsError
from vlm.option_types import AUTO_MODEL
from vlm.settings import Settings

if TYPE_CHECKING:
    from vlm.runtimes.memory import Fit

Step = Literal["fetching", "loading"]

# A caption a second is live. On two cores SmolVLM-256M has its first word after 0.75 s, and the
# time grows with the parameters: eight cores or more keep up with the 500M, and a GPU with all.
_FEW_CORES_PARAMETERS: Final = 300_000_000
_MANY_CORES: Final = 8
_MANY_CORES_PARAMETERS: Final = 600_000_000


@dataclass(frozen=True)
class ListedModel:
    """One model as `/api/status` lists it."""

    name: str
    title: str
    good_for: str
    download_bytes: int
    received_bytes: int
    """Size on the disk of an unfinished download."""
    memory_bytes: int | None
    """Memory that it needs to run, None if unknown."""
    here: bool
    """It is complete on this machine."""
    fits: bool
    """That memory was free at the last check; the running model always fits."""
    running: bool


@dataclass(frozen=True)
class ModelEntry:
    """A model that could run, with what the disk and the free memory say of it."""

    name: str
    """For people; never a path."""
    model: str
    """The argument of `load_engine`."""
    title: str
    good_for: str
    hub_id: str | None
    revision: str
    parameters: int
    """0 if unknown."""
    download_bytes: int
    received_bytes: int
    here: bool
    fit: Fit | None
    """None while nothing is known of the model but its name."""

    @property
    def fits(self) -> bool:
        """Return whether the memory is free, as far as known.

        The bundled model always fits: it is the last resort.
        """
        return self.model == BUNDLED_MODEL or self.fit is None or self.fit.fits

    def listed(self, running: str | None) -> ListedModel:
        """Return the entry for `/api/status` while the model named `running` runs."""
        return ListedModel(
            name=self.name,
            title=self.title,
            good_for=self.good_for,
            download_bytes=self.download_bytes,
            received_bytes=self.received_bytes,
            memory_bytes=self.fit.needed_bytes if self.fit else None,
            here=self.here,
            fits=self.fits or self.name == running,
            running=self.name == running,
        )


@dataclass(frozen=True)
class Change:
    """The progress of a change of the model."""

    model: str
    title: str
    step: Step
    received_bytes: int = 0
    total_bytes: int = 0
    bytes_per_s: float = 0.0
    left_s: float | None = None
    detail: str | None = None
    cancelling: bool = False


@dataclass(frozen=True)
class Problem:
    """The reason why the last change failed."""

    model: str
    title: str
    code: str
    message: str


@dataclass(frozen=True)
class ModelsStatus:
    """The part of `/api/status` about models."""

    auto: bool
    offline: bool
    choices: tuple[ListedModel, ...]
    change: Change | None
    problem: Problem | None


def find_models(settings: Settings) -> Iterator[ModelEntry]:
    """Yield the known models, and the one that `settings` name if it is none of them.

    Reads the disk and the free memory, never the network.
    """
    # Imported here: a runtime's modules take a while, and the page should open before.
    from vlm.runtimes.load import fit

    for known in KNOWN_MODELS:
        folder = complete_folder(known.name)
        yield ModelEntry(
            name=known.name,
            model=known.name,
            title=known.title,
            good_for=known.good_for,
            hub_id=known.hub_id,
            revision=known.revision,
            parameters=known.size.parameters,
            download_bytes=known.download_bytes,
            received_bytes=_received_bytes(known.hub_id),
            here=folder is not None,
            fit=fit(known.size, settings, folder),
        )
    model = settings.model
    if model == AUTO_MODEL or known_model(model) is not None:
        return
    is_path = Path(model).is_dir()
    folder = complete_folder(model)
    size = None if folder is None else model_size(folder)
    hub_id = None if is_path else model
    yield ModelEntry(
        name=display_name(model),
        model=model,
        title=display_name(model),
        good_for="The model that was named at the start.",
        hub_id=hub_id,
        revision="main",
        parameters=size.parameters if size else 0,
        download_bytes=0,
        received_bytes=_received_bytes(hub_id),
        # An incomplete folder too: nothing can be downloaded, and loading it says what is wrong.
        here=folder is not None or is_path,
        fit=fit(size, settings, folder) if size else None,
    )


def best_here(found: Iterable[ModelEntry]) -> ModelEntry | None:
    """Return the best known model that is here and fits, None if only the bundled one does.

    The best is the largest that this machine runs live, else the smallest beyond that.
    """
    usable = [each for each in found if _is_published(each) and each.here and each.fits]
    live = [each for each in usable if _is_live(each)]
    if live:
        return max(live, key=lambda each: each.parameters)
    return min(usable, key=lambda each: each.parameters, default=None)


def settings_here(settings: Settings, what: str) -> Settings:
    """Return `settings` for a command, with the best model here in place of "auto".

    `what` needs the model, as in "Labels need". Raise SettingsError if another server is to run it.
    """
    if settings.engine != "local":
        raise SettingsError(f"{what} a model that runs here: leave out SIGHTLINE_ENGINE.")
    if settings.model != AUTO_MODEL:
        return settings
    best = best_here(find_models(settings))
    return replace(settings, model=best.model if best else BUNDLED_MODEL)


def best_to_fetch(found: Iterable[ModelEntry]) -> ModelEntry | None:
    """Return the largest known model that fits and that this machine runs live, None if none."""
    live = [each for each in found if _is_published(each) and each.fits and _is_live(each)]
    return max(live, key=lambda each: each.parameters, default=None)


def _is_published(entry: ModelEntry) -> bool:
    return entry.model != BUNDLED_MODEL and known_model(entry.model) is not None


def _is_live(entry: ModelEntry) -> bool:
    if entry.fit is None or entry.fit.device != "cpu":
        return True
    cores = os.cpu_count() or 1
    limit = _MANY_CORES_PARAMETERS if cores >= _MANY_CORES else _FEW_CORES_PARAMETERS
    return entry.parameters <= limit


def _received_bytes(hub_id: str | None) -> int:
    return CachedRepository.of(hub_id).received_bytes() if hub_id else 0
