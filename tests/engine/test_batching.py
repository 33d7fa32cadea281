"""Batches: requests that share passes get the same texts, whatever else runs or fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine_kit import with_task
from vlm.engine.engine import Engine, EngineJob
from vlm.engine.passes import Decode, Encode, group_passes
from vlm.errors import BadRequestError
from vlm.models.loading import load_engine
from vlm.prompts import PRESETS
from vlm.results import Result, StreamEvent
from vlm.settings import Settings
from vlm.types import Request, Sampling

SETTINGS = Settings(model="nano", runtime="torch-static", device="cpu", dtype="float32")
PROMPTS = [preset.prompt for preset in PRESETS]


@pytest.fixture(scope="module")
def loaded() -> Engine:
    return load_engine(SETTINGS)


@pytest.fixture
def engine(loaded: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The engine with empty caches."""
    loaded.close()
    monkeypatch.setattr(loaded, "_batch_size", loaded.max_batch)
    yield loaded


@pytest.fixture(scope="module")
def requests(frames: list[Image.Image]) -> list[Request]:
    """Requests of several lengths, two of them not greedy."""
    plain = [
        Request.about(frame, PROMPTS[index % len(PROMPTS)], 12 + 5 * index, camera=str(index))
        for index, frame in enumerate(frames[:7])
    ]
    sampled = with_task(replace(plain[2], camera="sampled"), sampling=Sampling(1.0, 0.9, seed=7))
    logprobs = with_task(replace(plain[3], camera="logprobs"), top_logprobs=2)
    return [*plain, sampled, logprobs]


@pytest.fixture(scope="module")
def alone(loaded: Engine, requests: list[Request]) -> list[tuple[str, str]]:
    """Text and finish reason of each of `requests`, run alone."""
    endings = []
    for request in requests:
        loaded.close()
        *_, last = loaded.stream(request)
        endings.append(ending(last))
    return endings


def run(engine: Engine, jobs: list[EngineJob]) -> list[StreamEvent | Exception]:
    """Run all of `jobs` to their ends; return their last events."""
    last: dict[int, StreamEvent | Exception] = {}
    while len(last) < len(jobs):
        in_flight = [job for job in jobs if id(job) not in last]
        for job, events in zip(in_flight, engine.advance(in_flight), strict=True):
            if events and isinstance(events[-1], Result | Exception):
                last[id(job)] = events[-1]
    return [last[id(job)] for job in jobs]


def ending(item: StreamEvent | Exception) -> tuple[str, str]:
    assert isinstance(item, Result), item
    return item.text, item.finish_reason


def test_batching_does_not_change_the_texts(
    engine: Engine, requests: list[Request], alone: list[tuple[str, str]]
) -> None:
    together = run(engine, [engine.begin(request) for request in requests])
    assert list(map(ending, together)) == alone
    assert len(set(alone)) > 4


def test_requests_join_and_leave_the_batch_between_tokens(
    engine: Engine, requests: list[Request], alone: list[tuple[str, str]]
) -> None:
    ends: dict[int, tuple[str, str]] = {}
    jobs: dict[int, EngineJob] = {}
    waiting = list(enumerate(requests))
    together = 0
    while waiting or jobs:
        if waiting:
            index, request = waiting.pop(0)
            jobs[index] = engine.begin(request)
        together = max(together, len(jobs))
        for index, events in zip(list(jobs), engine.advance(list(jobs.values())), strict=True):
            if events and isinstance(events[-1], Result):
                ends[index] = ending(events[-1])
                del jobs[index]
    assert [ends[index] for index in range(len(requests))] == alone
    assert together > 2


def test_one_pass_decodes_several_requests(
    engine: Engine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime: Any = engine._model.runtime
    sizes: list[int] = []
    decode_batch = runtime.decode_batch

    def counted(states: list[Any], token_ids: list[int], want_logits: bool) -> list[Any]:
        sizes.append(len(states))
        return decode_batch(states, token_ids, want_logits)  # type: ignore[no-any-return]

    monkeypatch.setattr(runtime, "decode_batch", counted)
    done = run(engine, [engine.begin(request) for request in requests[:4]])
    tokens = sum(result.stats.tokens for result in done if isinstance(result, Result))
    assert max(sizes) == 4
    assert len(sizes) < tokens


def test_cancelled_request_does_not_change_the_others(
    engine: Engine, requests: list[Request], alone: list[tuple[str, str]]
) -> None:
    jobs = [engine.begin(request) for request in requests[:3]]
    for _ in range(4):
        engine.advance(jobs)
    jobs[1].close()
    left = run(engine, [jobs[0], jobs[2]])
    assert list(map(ending, left)) == [alone[0], alone[2]]


def test_failed_batch_is_retried_with_fewer_requests(
    engine: Engine,
    requests: list[Request],
    alone: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime: Any = engine._model.runtime
    decode_batch = runtime.decode_batch

    def short_of_memory(states: list[Any], token_ids: list[int], want_logits: bool) -> list[Any]:
        if len(states) > 2:
            raise MemoryError("no room for so many")
        return decode_batch(states, token_ids, want_logits)  # type: ignore[no-any-return]

    monkeypatch.setattr(runtime, "decode_batch", short_of_memory)
    together = run(engine, [engine.begin(request) for request in requests])
    assert list(map(ending, together)) == alone
    assert engine.max_batch <= 2


def test_batch_size_recovers_after_enough_good_batches(
    engine: Engine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime: Any = engine._model.runtime
    decode_batch = runtime.decode_batch
    faults = iter([MemoryError("no room for so many")])

    def short_of_memory_once(*args: Any, **fields: Any) -> list[Any]:
        for fault in faults:
            raise fault
        return decode_batch(*args, **fields)  # type: ignore[no-any-return]

    monkeypatch.setattr(runtime, "decode_batch", short_of_memory_once)
    run(engine, [engine.begin(request) for request in requests[:2]])
    assert engine.max_batch == 1
    sizes = [engine.max_batch]
    for _ in range(30):
        # Nothing to draft from, so that each token is a decode.
        engine.close()
        run(engine, [engine.begin(request) for request in requests])
        sizes.append(engine.max_batch)
        if sizes[-1] == runtime.max_batch:
            break
    assert sizes == sorted(sizes)
    assert sizes[-1] == runtime.max_batch


def test_error_of_one_request_does_not_reach_the_others(
    engine: Engine,
    requests: list[Request],
    alone: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime: Any = engine._model.runtime
    prefill = runtime.prefill
    jobs = [engine.begin(request) for request in requests[:3]]
    calls: list[int] = []

    def second_fails(*args: Any, **fields: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 2:
            raise MemoryError("no room for this one")
        return prefill(*args, **fields)

    monkeypatch.setattr(runtime, "prefill", second_fails)
    ends = run(engine, jobs)
    assert isinstance(ends[1], MemoryError)
    assert [ending(ends[0]), ending(ends[2])] == [alone[0], alone[2]]


def test_invalid_request_raises_before_it_joins_the_batch(
    engine: Engine, frames: list[Image.Image]
) -> None:
    with pytest.raises(BadRequestError):
        engine.begin(Request.about(frames[0], PROMPTS[0], 0))


def test_groups_hold_each_pass_once_and_at_most_max_batch(engine: Engine) -> None:
    runtime: Any = engine._model.runtime
    tile = Image.new("RGB", (8, 8))
    processor = engine._model.inputs.image_processor
    pixels = [processor.pixel_values(tile, detail) for detail in ("low", "tiny")]
    wanted = [
        Encode(pixels[index % 2]) if index % 3 else Decode(None, index) for index in range(20)
    ]  # type: ignore[arg-type]
    for most in (1, 3, 8):
        groups = list(group_passes(runtime, wanted, most))
        assert sorted(index for group in groups for index in group) == list(range(20))
        assert max(map(len, groups)) <= most
        for group in groups:
            assert len({type(wanted[index]) for index in group}) == 1
            encodes = [each for index in group if isinstance(each := wanted[index], Encode)]
            # Tiles of one side.
            assert len({each.pixel_values.shape for each in encodes}) <= 1


def test_max_batch_depends_on_the_runtime(nano_dir: Path) -> None:
    automatic = load_engine(Settings(model=str(nano_dir), device="cpu"))
    plain = load_engine(replace(SETTINGS, runtime="torch"))
    assert (plain.max_batch, automatic.max_batch, load_engine(SETTINGS).max_batch) == (1, 3, 8)
