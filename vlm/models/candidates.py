"""What models there are to choose from here, and which of them suits this machine best."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
from vlm.settings import AUTO_MODEL, Settings

if TYPE_CHECKING:
    from vlm.runtimes.memory import Fit

# A caption a second is live. On two cores SmolVLM-256M has its first word after 0.75 s, and the
# time grows with the parameters: so eight cores or more keep up with the 500M, and a GPU with all.
_FEW_CORES_PARAMETERS: Final = 300_000_000
_MANY_CORES: Final = 8
_MANY_CORES_PARAMETERS: Final = 600_000_000


@dataclass(frozen=True)
class Candidate:
    """A model that could run. `name` is for the page and never a path, `model` for `load_engine`.

    `fit` is None while nothing is known of the model but its name.
    """

    name: str
    model: str
    title: str
    good_for: str
    hub_id: str | None
    revision: str
    parameters: int
    download_bytes: int
    received_bytes: int
    here: bool
    fit: Fit | None

    @property
    def fits(self) -> bool:
        """Whether it would find the memory that it needs, as far as can be told.

        The bundled model always would: it is what is left where nothing else does.
        """
        return self.model == BUNDLED_MODEL or self.fit is None or self.fit.fits


def candidates(settings: Settings) -> Iterator[Candidate]:
    """The known models, and the one that `settings` name where it is none of them.

    Looks at the disk and at the free memory, never at the network.
    """
    # A runtime's modules take a while, and the page should open before.
    from vlm.runtimes.load import fit

    for known in KNOWN_MODELS:
        folder = complete_folder(known.name)
        yield Candidate(
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
    if folder is None and is_path:
        # Loading it will tell what it lacks; there is nothing here to choose.
        return
    size = None if folder is None else model_size(folder)
    yield Candidate(
        name=display_name(model),
        model=model,
        title=display_name(model),
        good_for="The model that was named at the start.",
        hub_id=None if is_path else model,
        revision="main",
        parameters=size.parameters if size else 0,
        download_bytes=0,
        received_bytes=0 if is_path else _received_bytes(model),
        here=folder is not None,
        fit=fit(size, settings, folder) if size else None,
    )


def best_here(found: Iterable[Candidate]) -> Candidate | None:
    """The best known model that is here and fits, None where there is but the bundled one.

    The best is the largest that this machine keeps pace with, else the smallest beyond that.
    """
    usable = [each for each in found if _is_published(each) and each.here and each.fits]
    swift = [each for each in usable if _keeps_pace(each)]
    if swift:
        return max(swift, key=lambda each: each.parameters)
    return min(usable, key=lambda each: each.parameters, default=None)


def best_to_fetch(found: Iterable[Candidate]) -> Candidate | None:
    """The largest known model that fits and that this machine keeps pace with, None if none is."""
    swift = [each for each in found if _is_published(each) and each.fits and _keeps_pace(each)]
    return max(swift, key=lambda each: each.parameters, default=None)


def _is_published(candidate: Candidate) -> bool:
    return candidate.model != BUNDLED_MODEL and known_model(candidate.model) is not None


def _keeps_pace(candidate: Candidate) -> bool:
    if candidate.fit is None or candidate.fit.device != "cpu":
        return True
    cores = os.cpu_count() or 1
    limit = _MANY_CORES_PARAMETERS if cores >= _MANY_CORES else _FEW_CORES_PARAMETERS
    return candidate.parameters <= limit


def _received_bytes(hub_id: str | None) -> int:
    return CachedRepository.of(hub_id).received_bytes() if hub_id else 0


Step = Literal["fetching", "loading"]


@dataclass(frozen=True)
class Choice:
    """One model that a person may choose.

    `memory_bytes` is what it needs to run, None while nothing is known of it; `received_bytes` is
    what an unfinished fetch has left; `fits` is against the memory that was free at the last look.
    """

    name: str
    title: str
    good_for: str
    download_bytes: int
    received_bytes: int
    memory_bytes: int | None
    here: bool
    fits: bool
    running: bool


@dataclass(frozen=True)
class Change:
    """How far a change has come; bytes and speed are those of its fetch."""

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
    """Why the last change came to nothing."""

    model: str
    title: str
    code: str
    message: str


@dataclass(frozen=True)
class ModelsStatus:
    """All that `/api/status` tells of models."""

    auto: bool
    offline: bool
    choices: tuple[Choice, ...]
    change: Change | None
    problem: Problem | None


def choice_of(candidate: Candidate, running: str | None) -> Choice:
    """`candidate` as a person sees it while the model named `running` runs, None for none."""
    return Choice(
        name=candidate.name,
        title=candidate.title,
        good_for=candidate.good_for,
        download_bytes=candidate.download_bytes,
        received_bytes=candidate.received_bytes,
        memory_bytes=candidate.fit.needed_bytes if candidate.fit else None,
        here=candidate.here,
        # What runs has the memory that it needs, whatever is free beside it.
        fits=candidate.fits or candidate.name == running,
        running=candidate.name == running,
    )
