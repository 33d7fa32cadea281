"""Which engine gets what from the finder."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from vlm.engine.engine import Engine
from vlm.errors import ModelFailedError, PartFailedError
from vlm.finder.around import with_finder
from vlm.finder.claims_engine import ClaimsEngine
from vlm.finder.engine import FinderEngine
from vlm.finder.finder import Finder
from vlm.finder.looks_engine import LooksEngine
from vlm.finder.reading_engine import ReadingEngine, ReadingPushEngine
from vlm.finder.witnesses import WitnessedEngine, WitnessedPushEngine
from vlm.settings import Settings

SMALL, LARGE = 4_000_000, 256_000_000


@pytest.mark.parametrize(
    ("model", "parameters", "witnesses", "kind"),
    [
        # The bundled model says when it knows nothing; witnesses are for others.
        ("nano", SMALL, "auto", FinderEngine),
        ("nano", SMALL, "on", FinderEngine),
        ("smolvlm-256m", LARGE, "auto", WitnessedEngine),
        ("smolvlm-256m", LARGE, "on", WitnessedEngine),
        ("smolvlm-256m", LARGE, "off", None),
        # A look takes longer than a caption of so small a model.
        ("own", SMALL, "auto", None),
        ("own", SMALL, "on", WitnessedEngine),
        ("own", LARGE, "auto", WitnessedEngine),
    ],
)
def test_engines_by_model_and_setting(
    monkeypatch: pytest.MonkeyPatch,
    engine: Engine,
    finder: Finder,
    model: str,
    parameters: int,
    witnesses: str,
    kind: type | None,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    loaded: Any = SimpleNamespace(info=replace(engine.info, model=model), max_batch=3)
    made: Any = with_finder(loaded, finder, Settings(witnesses=witnesses), parameters)
    # The reader is beside all of them.
    assert type(made) is ReadingEngine
    assert type(made._engine) is LooksEngine
    assert type(made._engine._engine) is ClaimsEngine
    inner = made._engine._engine._engine
    assert inner is loaded if kind is None else type(inner) is kind
    assert (made.info, made.max_batch) == (loaded.info, 3)


def test_one_core_has_no_room_for_witnesses_by_itself(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, finder: Finder
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    loaded: Any = SimpleNamespace(info=replace(engine.info, model="own"), max_batch=1)
    made: Any = with_finder(loaded, finder, Settings(), LARGE)
    assert made._engine._engine._engine is loaded


@pytest.mark.parametrize("witnesses", ["auto", "on", "off"])
def test_answers_of_other_servers_have_witnesses(
    engine: Engine, finder: Finder, witnesses: str
) -> None:
    loaded: Any = SimpleNamespace(info=engine.info, max_batch=8, pushes=True)
    made: Any = with_finder(loaded, finder, Settings(witnesses=witnesses), 0)
    assert type(made) is ReadingPushEngine
    assert type(made._engine) is (SimpleNamespace if witnesses == "off" else WitnessedPushEngine)


def test_what_is_off_or_broken_is_left_out(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ModelFailedError("Its file is damaged.")

    monkeypatch.setattr("vlm.reading.reader.load_reader", broken)
    settings = Settings(detector="none")
    finder = Finder(settings)
    for pushes, kind in ((False, ReadingEngine), (True, ReadingPushEngine)):
        loaded: Any = SimpleNamespace(info=engine.info, max_batch=1, pushes=pushes)
        made: Any = with_finder(loaded, finder, settings, LARGE)
        inner = made._engine if pushes else made._engine._engine._engine
        assert (type(made), inner) == (kind, loaded)
    with pytest.raises(PartFailedError):
        finder.reader.get()
    assert with_finder(loaded, finder, settings, LARGE) is loaded
    finder.close()
