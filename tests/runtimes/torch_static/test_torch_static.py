"""The static runtime predicts as the eager one. On the CPU its steps run without CUDA graphs."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from static_prompts import (
    BLOCK_TOKENS,
    CPU,
    FEWEST_DIFFERENT_IDS,
    HARDLY_DIFFERENT,
    PROMPTS,
    TOKENS,
    Prompt,
    feed,
)

from engine_kit import generate_ids
from vlm.engine.engine import Engine
from vlm.engine.inputs import InputBuilder
from vlm.processing.tokenizer import stop_ids
from vlm.runtimes.torch.devices import Placement
from vlm.runtimes.torch.eager import TorchRuntime, load_model
from vlm.runtimes.torch.slots import KVSlots
from vlm.runtimes.torch.static import StaticTorchRuntime, suits
from vlm.runtimes.torch.step import WIDTHS, StaticStep
from vlm.types import Request


def test_answers_equal_those_of_the_eager_runtime(
    nano_dir: Path, engine: Engine, runtime: StaticTorchRuntime, frames: list[Image.Image]
) -> None:
    inputs = InputBuilder.load(nano_dir)
    static_engine = Engine(runtime, inputs, stop_ids(nano_dir, inputs.tokenizer), "static")
    different: set[int] = set()
    for frame in frames[::2]:
        for prompt in PROMPTS:
            request = Request.about(frame, prompt, max_tokens=24)
            ids = list(generate_ids(static_engine, request))
            assert ids == list(generate_ids(engine, request))
            different |= set(ids)
    assert len(different) >= FEWEST_DIFFERENT_IDS, HARDLY_DIFFERENT


def test_single_tokens_predict_as_the_eager_runtime(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    for prompt in prompts:
        state, after = runtime.prefill(prompt.input_ids, prompt.features)
        assert after.ids == prompt.predicted[:1]
        feed(runtime, state, prompt, 0, TOKENS)


def test_any_split_into_passes_gives_the_same_predictions(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    rng = random.Random(1)
    for prompt in prompts:
        for widest in (1, 5, WIDTHS[1] + 1, WIDTHS[2] + 1, TOKENS):
            at = rng.randrange(TOKENS // 2)
            state, after = runtime.prefill(prompt.before(at), prompt.features, at + 1)
            predicted = after.ids
            while at < TOKENS:
                part = prompt.text_ids[at : at + rng.randint(1, widest)]
                predicted += runtime.verify(state, part, len(part)).ids
                at += len(part)
            assert predicted == prompt.predicted


def test_verify_predicts_after_the_last_tokens_only(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    prompt = prompts[0]
    state, _ = runtime.prefill(prompt.input_ids, prompt.features)
    assert WIDTHS[-1] + 3 < TOKENS, "one pass must not hold all tokens"
    assert runtime.verify(state, prompt.text_ids, 3).ids == prompt.predicted[-3:]


def test_truncated_tokens_do_not_change_predictions(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    prompt, other = prompts[:2]
    state, _ = runtime.prefill(prompt.before(3), prompt.features)
    for wrong in ([7], other.text_ids[:20], other.text_ids):
        runtime.verify(state, wrong, 1)
        runtime.truncate(state, len(prompt.before(2)))
    feed(runtime, state, prompt, 2)


def test_forks_and_origin_are_independent(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    prompt, other = prompts[:2]
    state, _ = runtime.prefill(prompt.before(40), prompt.features)
    early = runtime.fork(state, len(prompt.input_ids))
    runtime.verify(early, other.text_ids[:30], 1)
    late = runtime.fork(state, len(prompt.before(30)))
    of_fork = runtime.fork(early, len(prompt.input_ids) + 5)
    runtime.truncate(of_fork, len(prompt.input_ids))
    runtime.truncate(early, len(prompt.input_ids))
    feed(runtime, late, prompt, 30)
    feed(runtime, early, prompt, 0)
    feed(runtime, state, prompt, 40)
    feed(runtime, of_fork, prompt, 0)


def test_nbytes_equals_that_of_the_eager_runtime(
    runtime: StaticTorchRuntime, model: Any, prompts: list[Prompt]
) -> None:
    prompt = prompts[0]
    plain, _ = TorchRuntime(model, CPU).prefill(prompt.input_ids, prompt.features)
    state, after = runtime.prefill(prompt.input_ids, prompt.features)
    assert state.nbytes == plain.nbytes
    runtime.decode(state, after.ids[0])
    assert state.nbytes == plain.nbytes * state.length // plain.length
    assert runtime.fork(state, 10).nbytes == plain.nbytes * 10 // plain.length


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_batch_predicts_as_each_sequence_alone(
    model: Any, prompts: list[Prompt], slots: int
) -> None:
    runtime = StaticTorchRuntime(model, CPU, slots=slots, block_tokens=BLOCK_TOKENS)
    rng = random.Random(slots)
    fed = [rng.randrange(TOKENS // 2) for _ in prompts]
    states = [
        runtime.prefill(prompt.before(count), prompt.features)[0]
        for prompt, count in zip(prompts, fed, strict=True)
    ]
    assert len({state.length for state in states}) > len(prompts) // 2
    for _ in range(TOKENS // 2):
        # Any sequences in any order: some are ahead, some join late.
        batch = rng.sample(range(len(prompts)), rng.randint(1, len(prompts)))
        predicted = runtime.decode_batch(
            [states[index] for index in batch],
            [prompts[index].text_ids[fed[index]] for index in batch],
        )
        for index, after in zip(batch, predicted, strict=True):
            fed[index] += 1
            assert after.ids[0] == prompts[index].predicted[fed[index]]


Refusal = Callable[..., torch.Tensor]


@pytest.fixture
def refusal() -> Iterator[Refusal]:
    """Allocate more than any address space holds."""
    yield lambda *_, **__: torch.empty(2**60, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(KVSlots, "grow"), (KVSlots, "_move"), (StaticStep, "_pass"), (TorchRuntime, "prefill")],
)
def test_out_of_memory_raises_and_the_runtime_stays_usable(
    runtime: StaticTorchRuntime,
    prompts: list[Prompt],
    monkeypatch: pytest.MonkeyPatch,
    refusal: Refusal,
    owner: type,
    name: str,
) -> None:
    kept, prompt = prompts[:2]
    state, _ = runtime.prefill(kept.input_ids, kept.features)
    feed(runtime, state, kept, 0, 1)
    capacity = runtime._slots.capacity
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        if owner is TorchRuntime:
            patch.setattr(runtime._eager, "_embed", refusal)
        else:
            patch.setattr(owner, name, refusal)
        other, _ = runtime.prefill(prompt.input_ids, prompt.features)
        runtime.verify(other, [7] * capacity, 1)
    feed(runtime, state, kept, 1)
    state, _ = runtime.prefill(prompt.input_ids, prompt.features)
    feed(runtime, state, prompt, 0)


def test_static_runtime_suits_one_gpu_only() -> None:
    gpu = torch.device("cuda:0")
    assert suits(Placement(gpu, torch.bfloat16, spread=False))
    assert not suits(Placement(gpu, torch.bfloat16, spread=True))
    assert not suits(Placement(CPU, torch.float32, spread=False))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to capture graphs")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_graphs_predict_as_steps_without_graphs(
    nano_dir: Path, prompts: list[Prompt], dtype: torch.dtype
) -> None:
    device = torch.device("cuda:0")
    cuda_model = load_model(nano_dir, dtype, str(device))
    graphed = StaticTorchRuntime(cuda_model, device, slots=4, block_tokens=BLOCK_TOKENS)
    eager = StaticTorchRuntime(cuda_model, device, slots=4, block_tokens=BLOCK_TOKENS)
    eager._step._captures = False

    def answers(runtime: StaticTorchRuntime) -> list[list[int]]:
        states = [runtime.prefill(each.input_ids, each.features)[0] for each in prompts]
        steps = [
            [
                after.ids[0]
                for after in runtime.decode_batch(states, [each.text_ids[at] for each in prompts])
            ]
            for at in range(TOKENS)
        ]
        fork = runtime.fork(states[0], len(prompts[0].input_ids))
        return [*steps, runtime.verify(fork, prompts[0].text_ids, TOKENS).ids]

    assert answers(graphed) == answers(eager)
    assert None not in graphed._step._graphs.values(), "a capture failed"
    assert {shape.width for shape in graphed._step._graphs} >= {WIDTHS[0], WIDTHS[-1]}
