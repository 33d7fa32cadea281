"""The OpenVINO runtime chooses as the torch one does, however a text is split into passes."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from engine_kit import question_ids, torch_runtime
from tools.random_checkpoint import make_random
from vlm.engine.inputs import InputBuilder
from vlm.images.decode import decode_image
from vlm.processing.image_processor import PixelValues
from vlm.prompts import PRESETS
from vlm.runtimes.base import Runtime
from vlm.runtimes.openvino.platform import precision_here
from vlm.runtimes.openvino.runtime import OpenVinoRuntime
from vlm.types import Detail

pytest.importorskip("openvino")

PROMPTS = (PRESETS[0].prompt, PRESETS[1].prompt, "What is left of the red thing?")
FLOAT32 = precision_here("float32", 0)
TOKENS = 12
FEWEST_DIFFERENT_IDS = 6


class Inputs(NamedTuple):
    """A frame and a question, as a runtime takes them."""

    pixel_values: PixelValues
    input_ids: tuple[int, ...]


def make_inputs(
    builder: InputBuilder, image: Image.Image, prompt: str, detail: Detail = "low"
) -> Inputs:
    input_ids = question_ids(builder, prompt, builder.image_processor.grid_of(image.size, detail))
    return Inputs(builder.image_processor.pixel_values(image, detail), input_ids)


@pytest.fixture(scope="session")
def runtime(nano_dir: Path) -> OpenVinoRuntime:
    """The bundled model in float32."""
    return OpenVinoRuntime.load(nano_dir, FLOAT32, print)


@pytest.fixture(scope="session")
def inputs(nano_dir: Path, frames: list[Image.Image]) -> list[Inputs]:
    """Every frame with every prompt, for the bundled model."""
    builder = InputBuilder.load(nano_dir)
    return [make_inputs(builder, frame, prompt) for frame in frames for prompt in PROMPTS]


def greedy_ids(runtime: Runtime[Any], inputs: Inputs, tokens: int = TOKENS) -> list[int]:
    features = [runtime.encode_image(tile[None]) for tile in inputs.pixel_values]
    state, after = runtime.prefill(inputs.input_ids, features)
    ids = after.ids
    while len(ids) < tokens:
        ids += runtime.decode(state, ids[-1]).ids
    assert state.length == len(inputs.input_ids) + tokens - 1
    return ids


def assert_chooses_alike(
    runtime: Runtime[Any], reference: Runtime[Any], inputs: Sequence[Inputs], tokens: int
) -> None:
    seen: set[int] = set()
    for index, each in enumerate(inputs):
        ids = greedy_ids(runtime, each, tokens)
        assert ids == greedy_ids(reference, each, tokens), f"case {index}"
        seen |= set(ids)
    assert len(seen) >= FEWEST_DIFFERENT_IDS, "answers that hardly differ prove nothing"


def test_the_bundled_model_chooses_as_torch_does(
    runtime: OpenVinoRuntime, nano_dir: Path, inputs: list[Inputs]
) -> None:
    reference = torch_runtime(nano_dir)
    assert_chooses_alike(runtime, reference, inputs, TOKENS)


def test_the_other_model_type_and_several_tiles_choose_as_torch_does(
    tiled_dir: Path, tmp_path: Path, frames: list[Image.Image]
) -> None:
    # SmolVLM 2 names its class anew, and differs in what concerns videos.
    folder = tmp_path / "smolvlm"
    make_random(tiled_dir, folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "smolvlm"
    config["architectures"] = ["SmolVLMForConditionalGeneration"]
    config["vision_config"]["model_type"] = "smolvlm_vision"
    (folder / "config.json").write_text(json.dumps(config))
    builder = InputBuilder.load(folder)
    inputs = [
        make_inputs(builder, frame, prompt, "high") for frame in frames[:4] for prompt in PROMPTS
    ]
    assert max(len(each.pixel_values) for each in inputs) > 1
    runtime = OpenVinoRuntime.load(folder, FLOAT32, print)
    reference = torch_runtime(folder)
    assert_chooses_alike(runtime, reference, inputs, TOKENS)


@pytest.mark.slow
def test_the_exact_shape_chooses_as_torch_does(exact_shape_dir: Path, shared_dir: Path) -> None:
    builder = InputBuilder.load(exact_shape_dir)
    photos = [
        decode_image(file.read_bytes()) for file in sorted((shared_dir / "photos").glob("*.jpg"))
    ]
    inputs = [make_inputs(builder, photo, PROMPTS[0]) for photo in photos[:4]]
    runtime = OpenVinoRuntime.load(exact_shape_dir, FLOAT32, print)
    reference = torch_runtime(exact_shape_dir)
    assert_chooses_alike(runtime, reference, inputs, TOKENS)


@pytest.fixture(scope="module")
def int8_runtime(nano_dir: Path) -> OpenVinoRuntime:
    """The bundled model with all weights in int8."""
    return OpenVinoRuntime.load(nano_dir, precision_here("int8", 0, int8_vision=True), print)


@pytest.mark.parametrize("name", ["runtime", "int8_runtime"])
def test_any_split_into_passes_gives_the_same_choices(
    request: pytest.FixtureRequest, inputs: list[Inputs], name: str
) -> None:
    runtime: OpenVinoRuntime = request.getfixturevalue(name)
    rng = random.Random(0)
    for each in inputs[::7]:
        features = [runtime.encode_image(each.pixel_values)]
        ids = greedy_ids(runtime, each)
        draft = ids[:-1]
        assert runtime.prefill([*each.input_ids, *draft], features, TOKENS)[1].ids == ids
        state, after = runtime.prefill(each.input_ids, features)
        choices = after.ids
        while len(choices) < TOKENS:
            more = rng.randint(1, TOKENS - len(choices))
            fed = ids[len(choices) - 1 :][:more]
            choices += runtime.verify(state, fed, len(fed)).ids
        assert choices == ids


def test_rejected_tokens_leave_no_trace(runtime: OpenVinoRuntime, inputs: list[Inputs]) -> None:
    rng = random.Random(0)
    for each in inputs[::7]:
        features = [runtime.encode_image(each.pixel_values)]
        ids = greedy_ids(runtime, each)
        prompt = len(each.input_ids)
        state, after = runtime.prefill([*each.input_ids, *range(9, 20)], features, 12)
        runtime.truncate(state, prompt)
        choices = after.ids[:1]
        while len(choices) < TOKENS:
            wrong = [rng.randrange(9, 900) for _ in range(rng.randint(1, 5))]
            after = runtime.verify(state, [choices[-1], *wrong], len(wrong) + 1)
            choices += after.ids[:1]
            runtime.truncate(state, prompt + len(choices) - 1)
            assert state.length == prompt + len(choices) - 1
        assert choices == ids


def test_a_fork_and_its_origin_go_their_own_ways(
    runtime: OpenVinoRuntime, inputs: list[Inputs]
) -> None:
    each, other = inputs[0], inputs[1]
    features = [runtime.encode_image(each.pixel_values)]
    shared = next(
        index
        for index, pair in enumerate(zip(each.input_ids, other.input_ids, strict=False))
        if pair[0] != pair[1]
    )
    state, _ = runtime.prefill(each.input_ids, features)
    fork = runtime.fork(state, shared)
    assert fork.length == shared
    rest = other.input_ids[shared:]
    ids = runtime.verify(fork, rest, 1).ids
    again = runtime.fork(state, len(each.input_ids))
    ours = [greedy_ids(runtime, each)[0]]
    while len(ids) < TOKENS:
        ids += runtime.decode(fork, ids[-1]).ids
        ours += runtime.decode(again, ours[-1]).ids
    assert ids == greedy_ids(runtime, other)
    assert ours == greedy_ids(runtime, each)


def test_a_fork_of_a_state_with_rejected_tokens_holds_none_of_them(
    runtime: OpenVinoRuntime, inputs: list[Inputs]
) -> None:
    features = [runtime.encode_image(inputs[0].pixel_values)]
    ids = greedy_ids(runtime, inputs[0])
    state, _ = runtime.prefill(inputs[0].input_ids, features)
    runtime.verify(state, [9, 10, 11, 12], 1)
    runtime.truncate(state, len(inputs[0].input_ids))
    runtime.verify(state, ids[:4], 1)
    fork = runtime.fork(state, state.length)
    assert runtime.decode(fork, ids[4]).ids == [ids[5]]
    assert fork.nbytes < state.nbytes


def test_features_come_one_tile_after_the_other(
    runtime: OpenVinoRuntime, inputs: list[Inputs]
) -> None:
    tiles = np.concatenate([each.pixel_values for each in inputs[:6:3]])
    together = runtime.encode_image(tiles)
    apart = np.concatenate([runtime.encode_image(tile[None]) for tile in tiles])
    assert np.allclose(together, apart, atol=1e-4)


def test_int8_features_are_close(
    runtime: OpenVinoRuntime, int8_runtime: OpenVinoRuntime, inputs: list[Inputs]
) -> None:
    assert int8_runtime.dtype == "int8, int8 vision"
    for each in inputs[::7]:
        exact = runtime.encode_image(each.pixel_values)
        error = int8_runtime.encode_image(each.pixel_values) - exact
        assert 0 < np.linalg.norm(error) < 0.1 * np.linalg.norm(exact)


def test_another_number_of_features_than_image_tokens_is_refused(
    runtime: OpenVinoRuntime, inputs: list[Inputs]
) -> None:
    features = runtime.encode_image(inputs[0].pixel_values)
    with pytest.raises(ValueError, match="image tokens"):
        runtime.prefill(inputs[0].input_ids, [features[:-1]])


def test_tiles_of_another_side_are_refused(runtime: OpenVinoRuntime) -> None:
    with pytest.raises(ValueError, match="tiles of 64 pixels"):
        runtime.encode_image(np.zeros((1, 3, 64, 64), np.float32))
