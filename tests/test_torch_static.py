"""Laws of the runtime with a static cache: what it answers does not tell how it was computed.

On the CPU its steps run without CUDA graphs, but for that they are the same.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image

from vlm.checkpoints import load_model, stop_ids
from vlm.engine import Engine
from vlm.inputs import InputBuilder
from vlm.prompts import PRESETS
from vlm.runtimes.devices import Placement
from vlm.runtimes.torch_runtime import TorchRuntime
from vlm.runtimes.torch_static import StaticTorchRuntime, suits
from vlm.runtimes.torch_static_slots import KVSlots, StaticKVState
from vlm.runtimes.torch_static_step import WIDTHS, Shape, StaticStep
from vlm.types import CaptionRequest

CPU = torch.device("cpu")
PROMPTS = (PRESETS[0].prompt, PRESETS[1].prompt, "What is left of the red thing?")
HARDLY_DIFFERENT = "answers that hardly differ prove nothing"
FEWEST_DIFFERENT_IDS = 8
# Shorter than a prompt and an answer, so that every test grows the slots.
BLOCK_TOKENS = 64
TOKENS = 60


class Prompt(NamedTuple):
    """What a runtime is fed, prompt then text, and what it chooses without a static cache.

    Text of no sense is fed: the bundled model's own answers end after a few tokens and would then
    repeat themselves. `choices[n]` is the choice behind the first n tokens of it.
    """

    input_ids: list[int]
    features: list[torch.Tensor]
    text_ids: list[int]
    choices: list[int]

    def before(self, count: int) -> list[int]:
        """The prompt and the first `count` tokens of the text."""
        return [*self.input_ids, *self.text_ids[:count]]


@pytest.fixture(scope="module")
def model(nano_dir: Path) -> Any:
    """The bundled model in float32."""
    return load_model(nano_dir, torch.float32, "cpu")


@pytest.fixture(scope="module")
def prompts(nano_dir: Path, model: Any, frames: list[Image.Image]) -> list[Prompt]:
    """Questions of different lengths about different frames."""
    inputs = InputBuilder.load(nano_dir)
    plain = TorchRuntime(model, CPU)
    rng = random.Random(0)
    prompts = []
    for frame, prompt in zip(frames, PROMPTS * 2, strict=False):
        input_ids = list(inputs.prompt_ids(prompt, inputs.grid_of(frame.size, "low")))
        features = [plain.encode_image(inputs.pixel_values(frame, "low"))]
        text_ids = [rng.randrange(10, model.config.text_config.vocab_size) for _ in range(TOKENS)]
        state, choices = plain.prefill(input_ids, features)
        choices += [plain.decode_one_token(state, token_id) for token_id in text_ids]
        assert len(set(choices)) >= FEWEST_DIFFERENT_IDS, HARDLY_DIFFERENT
        prompts.append(Prompt(input_ids, features, text_ids, choices))
    assert len({len(prompt.input_ids) for prompt in prompts}) > 1
    return prompts


@pytest.fixture
def runtime(model: Any) -> StaticTorchRuntime:
    """One with fewer slots than there are prompts."""
    return StaticTorchRuntime(model, CPU, slots=4, block_tokens=BLOCK_TOKENS)


def go_on(
    runtime: StaticTorchRuntime, state: StaticKVState, prompt: Prompt, start: int, count: int = 20
) -> None:
    """Feed `count` tokens of the text, one by one, to `state`, which holds those before `start`."""
    assert state.length == len(prompt.before(start))
    for at in range(start, start + count):
        assert runtime.decode_one_token(state, prompt.text_ids[at]) == prompt.choices[at + 1]


def test_answers_are_those_of_the_plain_runtime(
    nano_dir: Path, engine: Engine, runtime: StaticTorchRuntime, frames: list[Image.Image]
) -> None:
    inputs = InputBuilder.load(nano_dir)
    static_engine = Engine(runtime, inputs, stop_ids(nano_dir, inputs.tokenizer), "static")
    seen: set[int] = set()
    for frame in frames:
        for prompt in PROMPTS:
            request = CaptionRequest(frame, prompt, max_tokens=24)
            ids = list(static_engine.generate_ids(static_engine.ask(request)))
            assert ids == list(engine.generate_ids(engine.ask(request)))
            seen |= set(ids)
    assert len(seen) >= FEWEST_DIFFERENT_IDS, HARDLY_DIFFERENT


def test_a_token_at_a_time_is_as_the_plain_runtime_has_it(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    for prompt in prompts:
        state, choices = runtime.prefill(prompt.input_ids, prompt.features)
        assert choices == prompt.choices[:1]
        go_on(runtime, state, prompt, 0, TOKENS)


def test_any_split_into_passes_gives_the_same_choices(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    rng = random.Random(1)
    for prompt in prompts:
        for widest in (1, 5, WIDTHS[1] + 1, WIDTHS[2] + 1, TOKENS):
            at = rng.randrange(TOKENS // 2)
            state, choices = runtime.prefill(prompt.before(at), prompt.features, at + 1)
            while at < TOKENS:
                part = prompt.text_ids[at : at + rng.randint(1, widest)]
                choices += runtime.verify(state, part, len(part))
                at += len(part)
            assert choices == prompt.choices


def test_only_the_last_choices_are_told(runtime: StaticTorchRuntime, prompts: list[Prompt]) -> None:
    prompt = prompts[0]
    state, _ = runtime.prefill(prompt.input_ids, prompt.features)
    assert WIDTHS[-1] + 3 < TOKENS, "a pass must not be all of it"
    assert runtime.verify(state, prompt.text_ids, 3) == prompt.choices[-3:]


def test_truncated_tokens_are_forgotten(runtime: StaticTorchRuntime, prompts: list[Prompt]) -> None:
    prompt, other = prompts[:2]
    state, _ = runtime.prefill(prompt.before(3), prompt.features)
    for wrong in ([7], other.text_ids[:20], other.text_ids):
        runtime.verify(state, wrong, 1)
        runtime.truncate(state, len(prompt.before(2)))
    go_on(runtime, state, prompt, 2)


def test_a_fork_and_its_origin_do_not_see_each_other(
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
    go_on(runtime, late, prompt, 30)
    go_on(runtime, early, prompt, 0)
    go_on(runtime, state, prompt, 40)
    go_on(runtime, of_fork, prompt, 0)


def test_what_a_state_keeps_is_told_in_bytes(
    runtime: StaticTorchRuntime, model: Any, prompts: list[Prompt]
) -> None:
    prompt = prompts[0]
    plain, _ = TorchRuntime(model, CPU).prefill(prompt.input_ids, prompt.features)
    state, [first] = runtime.prefill(prompt.input_ids, prompt.features)
    assert state.nbytes == plain.nbytes
    runtime.decode_one_token(state, first)
    assert state.nbytes == plain.nbytes * state.length // plain.length
    assert runtime.fork(state, 10).nbytes == plain.nbytes * 10 // plain.length


@pytest.mark.parametrize("slots", [1, 3, 8])
def test_many_together_answer_as_each_alone(model: Any, prompts: list[Prompt], slots: int) -> None:
    runtime = StaticTorchRuntime(model, CPU, slots=slots, block_tokens=BLOCK_TOKENS)
    rng = random.Random(slots)
    fed = [rng.randrange(TOKENS // 2) for _ in prompts]
    states = [
        runtime.prefill(prompt.before(count), prompt.features)[0]
        for prompt, count in zip(prompts, fed, strict=True)
    ]
    assert len({state.length for state in states}) > len(prompts) // 2
    for _ in range(TOKENS // 2):
        # Whoever takes part, in whatever order: some are ahead, some join late.
        batch = rng.sample(range(len(prompts)), rng.randint(1, len(prompts)))
        choices = runtime.decode_many(
            [states[each] for each in batch], [prompts[each].text_ids[fed[each]] for each in batch]
        )
        for each, choice in zip(batch, choices, strict=True):
            fed[each] += 1
            assert choice == prompts[each].choices[fed[each]]


def test_slots_of_the_dead_are_used_again_and_tell_nothing(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    runtime.verify(runtime.prefill(prompts[0].input_ids, prompts[0].features)[0], [7] * 90, 1)
    memory = runtime._slots.memory
    # A mask hides any number; but what is no number comes through it.
    with torch.inference_mode():
        memory.fill_(torch.nan)
    for prompt in prompts * 2:
        state, _ = runtime.prefill(prompt.input_ids, prompt.features)
        go_on(runtime, state, prompt, 0)
    assert runtime._slots.memory is memory


def test_what_was_cut_off_tells_nothing(runtime: StaticTorchRuntime, prompts: list[Prompt]) -> None:
    prompt = prompts[0]
    state, _ = runtime.prefill(prompt.input_ids, prompt.features)
    runtime.verify(state, [7] * 20, 1)
    assert state.slot is not None
    with torch.inference_mode():
        end = state.length
        runtime._slots.memory[:, :, state.slot, :, len(prompt.input_ids) : end] = torch.nan
    runtime.truncate(state, len(prompt.input_ids))
    go_on(runtime, state, prompt, 0)


def test_any_number_of_states_is_kept_beside_the_slots(model: Any, prompts: list[Prompt]) -> None:
    runtime = StaticTorchRuntime(model, CPU, slots=2, block_tokens=BLOCK_TOKENS)
    kept = [runtime.prefill(prompt.input_ids, prompt.features)[0] for prompt in prompts]
    for step in range(8):
        for state, prompt in zip(kept, prompts, strict=True):
            go_on(runtime, state, prompt, step, 1)
    assert sum(state.slot is not None for state in kept) <= 2


def test_growing_keeps_what_all_have(runtime: StaticTorchRuntime, prompts: list[Prompt]) -> None:
    both = prompts[:2]
    short, long = (runtime.prefill(each.input_ids, each.features)[0] for each in both)
    runtime.decode_many([short, long], [each.text_ids[0] for each in both])
    capacity = runtime._slots.capacity
    runtime.verify(long, [7] * (2 * capacity), 1)
    assert runtime._slots.capacity > capacity
    runtime.truncate(long, len(both[1].before(1)))
    go_on(runtime, short, both[0], 1)
    go_on(runtime, long, both[1], 1)


def test_padding_spoils_nothing_where_a_slot_is_full(
    runtime: StaticTorchRuntime, prompts: list[Prompt]
) -> None:
    fed = 30
    states = [runtime.prefill(each.before(fed), each.features)[0] for each in prompts[:4]]
    runtime.decode_many(states, [each.text_ids[fed] for each in prompts[:4]])
    full, prompt = states[0], prompts[0]
    left = runtime._slots.capacity - full.length
    assert left not in WIDTHS, "this pass has padding"
    runtime.verify(full, prompt.text_ids[fed + 1 :][:left], 1)
    assert full.length == runtime._slots.capacity
    # It stays in its slot, among those that this pass takes in.
    runtime.decode_many(states[1:], [each.text_ids[fed + 1] for each in prompts[1:4]])
    assert full.slot is not None
    unpadded, _ = runtime.prefill(prompt.before(fed + 1 + left), prompt.features)
    kept = runtime.fork(full, full.length)
    assert kept.parked is not None and unpadded.parked is not None
    assert torch.allclose(kept.parked, unpadded.parked, atol=1e-3)


def test_steps_have_few_shapes_and_are_no_larger_than_they_must(
    runtime: StaticTorchRuntime, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[Shape] = []
    run_pass = StaticStep._pass

    def recorded(step: StaticStep, shape: Shape) -> torch.Tensor:
        shapes.append(shape)
        return run_pass(step, shape)

    monkeypatch.setattr(StaticStep, "_pass", recorded)
    states = [runtime.prefill(each.input_ids, each.features)[0] for each in prompts[:3]]
    runtime.decode_many(states, [7, 7, 7])
    last = states[-1]
    ends = range(last.length + 1, last.length + 1 + TOKENS)
    for _ in ends:
        runtime.decode_one_token(last, 7)
    alone = set(shapes[1:])
    assert {(shape.rows, shape.width) for shape in alone} == {(1, 1)}, "the others take no part"
    assert {shape.length for shape in alone} == {runtime._slots.rounded(end) for end in ends}
    assert len(alone) <= 2
    for count in range(1, WIDTHS[-1] + 1):
        runtime.truncate(last, len(prompts[2].input_ids))
        runtime.verify(last, [7] * count, 1)
    assert {shape.width for shape in shapes} == set(WIDTHS)


def test_a_step_looks_at_no_value_and_stays_on_its_device(model: Any) -> None:
    # As a graph asks. Tensors of the meta device have shapes and no values.
    meta = torch.device("meta")
    runtime = StaticTorchRuntime(copy.deepcopy(model).to(meta), meta, block_tokens=BLOCK_TOKENS)
    runtime._slots.grow(BLOCK_TOKENS + 1)
    for width in WIDTHS:
        choices = runtime._step._pass(Shape(4, width, 2 * BLOCK_TOKENS))
        assert (choices.device, choices.shape) == (meta, (4, width))


Refusal = Callable[..., torch.Tensor]


@pytest.fixture
def refusal() -> Iterator[Refusal]:
    """The allocator's own refusal, of more than any address space holds."""
    yield lambda *_, **__: torch.empty(2**60, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("owner", "name"),
    [(KVSlots, "grow"), (KVSlots, "_move"), (StaticStep, "_pass"), (TorchRuntime, "prefill")],
)
def test_a_device_without_room_says_so_and_goes_on(
    runtime: StaticTorchRuntime,
    prompts: list[Prompt],
    monkeypatch: pytest.MonkeyPatch,
    refusal: Refusal,
    owner: type,
    name: str,
) -> None:
    kept, prompt = prompts[:2]
    state, _ = runtime.prefill(kept.input_ids, kept.features)
    go_on(runtime, state, kept, 0, 1)
    capacity = runtime._slots.capacity
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        if owner is TorchRuntime:
            patch.setattr(runtime._eager, "_embed", refusal)
        else:
            patch.setattr(owner, name, refusal)
        other, _ = runtime.prefill(prompt.input_ids, prompt.features)
        runtime.verify(other, [7] * capacity, 1)
    go_on(runtime, state, kept, 1)
    state, _ = runtime.prefill(prompt.input_ids, prompt.features)
    go_on(runtime, state, prompt, 0)


def test_one_gpu_alone_is_suited() -> None:
    gpu = torch.device("cuda:0")
    assert suits(Placement(gpu, torch.bfloat16, spread=False))
    assert not suits(Placement(gpu, torch.bfloat16, spread=True))
    assert not suits(Placement(CPU, torch.float32, spread=False))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to capture graphs")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_graphs_answer_as_the_same_steps_without(
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
            runtime.decode_many(states, [each.text_ids[at] for each in prompts])
            for at in range(TOKENS)
        ]
        fork = runtime.fork(states[0], len(prompts[0].input_ids))
        return [*steps, runtime.verify(fork, prompts[0].text_ids, TOKENS)]

    assert answers(graphed) == answers(eager)
    assert None not in graphed._step._graphs.values(), "a capture failed"
    assert {shape.width for shape in graphed._step._graphs} >= {WIDTHS[0], WIDTHS[-1]}
