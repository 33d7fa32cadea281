"""Wrap an engine in those of the finder that fit its model."""

from __future__ import annotations

import os
from typing import Final, cast

from vlm.checkpoints.catalogue import known_model
from vlm.finder.claims_engine import ClaimsEngine
from vlm.finder.engine import FinderEngine
from vlm.finder.finder import Finder
from vlm.finder.looks_engine import LooksEngine
from vlm.finder.reading_engine import ReadingEngine, ReadingPushEngine
from vlm.finder.speaker import Speaker
from vlm.finder.witnesses import WitnessedEngine, WitnessedPushEngine
from vlm.scheduler.protocol import AnyEngine, PullEngine, PushEngine
from vlm.settings import Settings

# Of a model so large, a caption takes a second of two cores, and the look beside it 2 % of their
# time. A small model would be slowed down by half.
_LARGE_PARAMETERS: Final = 100_000_000


def with_finder(
    engine: AnyEngine, finder: Finder, settings: Settings, parameters: int = 0
) -> AnyEngine:
    """Return `engine` with what `finder` adds to it.

    If the model says when it does not know a frame, the finder speaks in its place. Otherwise the
    captions are compared with what the finder sees, if `settings` say so; by "auto", if the model
    has many `parameters` (0: unknown) and there is a core for the look, or if the model runs
    elsewhere. The reader answers, or helps the model with, questions about text.
    """
    known = known_model(engine.info.model)
    may_be_unfamiliar = known is not None and bool(known.unfamiliar)
    if getattr(engine, "pushes", False):
        push = cast(PushEngine, engine)
        if finder.can_look and settings.witnesses != "off":
            push = WitnessedPushEngine(push, finder)
        return ReadingPushEngine(push, finder) if finder.reader.is_usable else push
    pull = cast(PullEngine, engine)
    if finder.can_look and known is not None and may_be_unfamiliar:
        pull = FinderEngine(pull, Speaker(finder), known.unfamiliar)
    elif finder.can_look and _has_witnesses(settings, parameters):
        pull = WitnessedEngine(pull, finder)
    # Within the reader: it knows which text is the model's own.
    pull = LooksEngine(ClaimsEngine(pull))
    if finder.reader.is_usable:
        # The bundled model was not taught prompts that quote text.
        pull = ReadingEngine(pull, finder, takes_lines=not may_be_unfamiliar)
    return pull


def _has_witnesses(settings: Settings, parameters: int) -> bool:
    is_cheap = parameters >= _LARGE_PARAMETERS and (os.cpu_count() or 1) > 1
    return settings.witnesses == "on" or (settings.witnesses == "auto" and is_cheap)
