"""Memory and shapes of the static cache: sequences that share slots or passes are independent."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from static_prompts import BLOCK_TOKENS, CPU, TOKENS, Prompt, feed

from vlm.runtimes.torch.static import StaticTorchRuntime
from vlm.runtimes.torch.step import WIDTHS, Shape, StaticStep


def test_reused_slots_keep_nothing_of_their_last_owner(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    runtime.verify(runtime.prefill(prompts[0].input_ids, prompts[0].features)[0], [7] * 90, 1)
    memory = runtime._slots.memory
    # A mask hides any number except NaN.
    with torch.inference_mode():
        memory.fill_(torch.nan)
    for prompt in prompts * 2:
        state, _ = runtime.prefill(prompt.input_ids, prompt.features)
        feed(runtime, state, prompt, 0)
    assert runtime._slots.memory is memory


def test_truncated_tokens_are_erased_from_the_slot(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    prompt = prompts[0]
    state, _ = runtime.prefill(prompt.input_ids, prompt.features)
    runtime.verify(state, [7] * 20, 1)
    assert state.slot is not None
    with torch.inference_mode():
        end = state.length
        runtime._slots.memory[:, :, state.slot, :, len(prompt.input_ids) : end] = torch.nan
    runtime.truncate(state, len(prompt.input_ids))
    feed(runtime, state, prompt, 0)


def test_more_states_than_slots_are_kept(model: Any, prompts: list[Prompt]) -> None:
    runtime = StaticTorchRuntime(model, CPU, slots=2, block_tokens=BLOCK_TOKENS)
    kept = [runtime.prefill(prompt.input_ids, prompt.features)[0] for prompt in prompts]
    for step in range(8):
        for state, prompt in zip(kept, prompts, strict=True):
            feed(runtime, state, prompt, step, 1)
    assert sum(state.slot is not None for state in kept) <= 2


def test_growing_keeps_the_tokens_of_all_slots(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    both = prompts[:2]
    short, long = (runtime.prefill(each.input_ids, each.features)[0] for each in both)
    runtime.decode_batch([short, long], [each.text_ids[0] for each in both])
    capacity = runtime._slots.capacity
    runtime.verify(long, [7] * (2 * capacity), 1)
    assert runtime._slots.capacity > capacity
    runtime.truncate(long, len(both[1].before(1)))
    feed(runtime, short, both[0], 1)
    feed(runtime, long, both[1], 1)


def test_padding_does_not_change_a_full_slot(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    fed = 30
    states = [runtime.prefill(each.before(fed), each.features)[0] for each in prompts[:4]]
    runtime.decode_batch(states, [each.text_ids[fed] for each in prompts[:4]])
    full, prompt = states[0], prompts[0]
    left = runtime._slots.capacity - full.length
    assert left not in WIDTHS, "this pass has padding"
    runtime.verify(full, prompt.text_ids[fed + 1 :][:left], 1)
    assert full.length == runtime._slots.capacity
    # It stays in its slot, and this pass reads that slot.
    runtime.decode_batch(states[1:], [each.text_ids[fed + 1] for each in prompts[1:4]])
    assert full.slot is not None
    unpadded, _ = runtime.prefill(prompt.before(fed + 1 + left), prompt.features)
    kept = runtime.fork(full, full.length)
    assert kept.parked is not None and unpadded.parked is not None
    assert torch.allclose(kept.parked, unpadded.parked, atol=1e-3)


def test_steps_use_few_shapes_and_the_smallest_that_fits(
    runtime: StaticTorchRuntime, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[Shape] = []
    run_pass = StaticStep._pass

    def recorded(step: StaticStep, shape: Shape) -> torch.Tensor:
        shapes.append(shape)
        return run_pass(step, shape)

    monkeypatch.setattr(StaticStep, "_pass", recorded)
    states = [runtime.prefill(each.input_ids, each.features)[0] for each in prompts[:3]]
    runtime.decode_batch(states, [7, 7, 7])
    last = states[-1]
    ends = range(last.length + 1, last.length + 1 + TOKENS)
    for _ in ends:
        runtime.decode(last, 7)
    alone = set(shapes[1:])
    assert {(shape.rows, shape.width) for shape in alone} == {(1, 1)}, (
        "the other slots are not read"
    )
    assert {shape.length for shape in alone} == {runtime._slots.rounded(end) for end in ends}
    assert len(alone) <= 2
    for count in range(1, WIDTHS[-1] + 1):
        runtime.truncate(last, len(prompts[2].input_ids))
        runtime.verify(last, [7] * count, 1)
    assert {shape.width for shape in shapes} == set(WIDTHS)


def test_step_reads_no_value_on_the_host(model: Any) -> None:
    # A CUDA graph requires it. Tensors of the meta device have shapes but no values.
    meta = torch.device("meta")
    runtime = StaticTorchRuntime(copy.deepcopy(model).to(meta), meta, block_tokens=BLOCK_TOKENS)
    runtime._slots.grow(BLOCK_TOKENS + 1)
    for width in WIDTHS:
        ids = runtime._step._pass(Shape(4, width, 2 * BLOCK_TOKENS)).ids
        assert (ids.device, ids.shape) == (meta, (4, width))
