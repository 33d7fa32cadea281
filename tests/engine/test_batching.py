"""Laws of requests that share passes: the same words, whoever else is there and whatever fails."""

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
from vlm.settings import Settings
from vlm.types import Request, Result, Sampling, StreamEvent

SETTINGS = Settings(model="nano", runtime="torch-static", device="cpu", dtype="float32")
PROMPTS = [preset.prompt for preset in PRESETS]


@pytest.fixture(scope="module")
def loaded() -> Engine:
    return load_engine(SETTINGS)


@pytest.fixture
def engine(loaded: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """As if nothing had been asked yet."""
    loaded.close()
    monkeypatch.setattr(loaded, "max_batch", loaded.max_batch)
    yield loaded


@pytest.fixture
def requests(frames: list[Image.Image]) -> list[Request]:
    """Of several lengths, two of them not greedy."""
    plain = [
        Request.about(frame, PROMPTS[index % len(PROMPTS)], 12 + 5 * index, camera=str(index))
        for index, frame in enumerate(frames[:7])
    ]
    drawn = with_task(replace(plain[2], camera="drawn"), sampling=Sampling(1.0, 0.9, seed=7))
    told = with_task(replace(plain[3], camera="told"), top_logprobs=2)
    return [*plain, drawn, told]


def text_alone(engine: Engine, request: Request) -> Result:
    engine.close()
    *_, done = engine.stream(request)
    assert isinstance(done, Result)
    return done


def run(engine: Engine, jobs: list[EngineJob]) -> list[StreamEvent | Exception]:
    """All of `jobs` to their ends, which are returned in their order."""
    last: dict[int, StreamEvent | Exception] = {}
    while len(last) < len(jobs):
        under_way = [job for job in jobs if id(job) not in last]
        for job, made in zip(under_way, engine.advance(under_way), strict=True):
            if made and isinstance(made[-1], Result | Exception):
                last[id(job)] = made[-1]
    return [last[id(job)] for job in jobs]


def ending(item: StreamEvent | Exception) -> tuple[str, str]:
    assert isinstance(item, Result), item
    return item.text, item.finish_reason


def test_requests_say_the_same_together_as_alone(engine: Engine, requests: list[Request]) -> None:
    alone = [ending(text_alone(engine, request)) for request in requests]
    engine.close()
    together = run(engine, [engine.begin(request) for request in requests])
    assert [ending(each) for each in together] == alone
    assert len(set(alone)) > 4


def test_requests_join_and_leave_between_tokens(engine: Engine, requests: list[Request]) -> None:
    alone = [ending(text_alone(engine, request)) for request in requests]
    engine.close()
    ends: dict[int, tuple[str, str]] = {}
    jobs: dict[int, EngineJob] = {}
    waiting = list(enumerate(requests))
    together = 0
    while waiting or jobs:
        if waiting:
            index, request = waiting.pop(0)
            jobs[index] = engine.begin(request)
        together = max(together, len(jobs))
        for index, made in zip(list(jobs), engine.advance(list(jobs.values())), strict=True):
            if made and isinstance(made[-1], Result):
                ends[index] = ending(made[-1])
                del jobs[index]
    assert [ends[index] for index in range(len(requests))] == alone
    assert together > 2


def test_tokens_of_several_requests_come_out_of_one_pass(
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
    tokens = sum(each.stats.tokens for each in done if isinstance(each, Result))
    assert max(sizes) == 4
    assert len(sizes) < tokens


def test_one_that_is_given_up_leaves_the_others_as_they_are(
    engine: Engine, requests: list[Request]
) -> None:
    alone = [ending(text_alone(engine, request)) for request in requests[:3]]
    engine.close()
    jobs = [engine.begin(request) for request in requests[:3]]
    for _ in range(4):
        engine.advance(jobs)
    jobs[1].close()
    left = run(engine, [jobs[0], jobs[2]])
    assert [ending(each) for each in left] == [alone[0], alone[2]]


def test_a_pass_that_fails_for_all_is_made_up_for_with_fewer(
    engine: Engine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [ending(text_alone(engine, request)) for request in requests]
    engine.close()
    runtime: Any = engine._model.runtime
    decode_batch = runtime.decode_batch

    def short_of_memory(states: list[Any], token_ids: list[int], want_logits: bool) -> list[Any]:
        if len(states) > 2:
            raise MemoryError("no room for so many")
        return decode_batch(states, token_ids, want_logits)  # type: ignore[no-any-return]

    monkeypatch.setattr(runtime, "decode_batch", short_of_memory)
    together = run(engine, [engine.begin(request) for request in requests])
    assert [ending(each) for each in together] == alone
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
    assert sizes == sorted(sizes)
    assert sizes[-1] == runtime.max_batch


def test_what_fails_alone_is_told_to_that_one_alone(
    engine: Engine, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [ending(text_alone(engine, request)) for request in requests[:3]]
    engine.close()
    runtime: Any = engine._model.runtime
    prefill = runtime.prefill
    jobs = [engine.begin(request) for request in requests[:3]]
    calls: list[int] = []

    def second_fails(*given: Any, **fields: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 2:
            raise MemoryError("no room for this one")
        return prefill(*given, **fields)

    monkeypatch.setattr(runtime, "prefill", second_fails)
    ends = run(engine, jobs)
    assert isinstance(ends[1], MemoryError)
    assert [ending(each) for each in (ends[0], ends[2])] == [alone[0], alone[2]]


def test_what_cannot_be_asked_is_told_before_it_joins(
    engine: Engine, frames: list[Image.Image]
) -> None:
    with pytest.raises(BadRequestError):
        engine.begin(Request.about(frames[0], PROMPTS[0], 0))


def test_groups_hold_each_pass_once_and_no_more_than_fit(engine: Engine) -> None:
    runtime: Any = engine._model.runtime
    tile = Image.new("RGB", (8, 8))
    pixels = engine._model.inputs.image_processor.pixel_values(tile, "low")
    wanted = [Encode(pixels) if index % 3 else Decode(None, index) for index in range(20)]  # type: ignore[arg-type]
    for most in (1, 3, 8):
        groups = list(group_passes(runtime, wanted, most))
        assert sorted(index for group in groups for index in group) == list(range(20))
        assert max(map(len, groups)) <= most
        assert all(len({type(wanted[index]) for index in group}) == 1 for group in groups)


def test_how_many_take_turns_depends_on_what_runs_them(nano_dir: Path) -> None:
    by_itself = load_engine(Settings(model=str(nano_dir), device="cpu"))
    plain = load_engine(replace(SETTINGS, runtime="torch"))
    assert (plain.max_batch, by_itself.max_batch, load_engine(SETTINGS).max_batch) == (1, 3, 8)
