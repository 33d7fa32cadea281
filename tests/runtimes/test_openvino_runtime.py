"""The OpenVINO runtime predicts as the torch runtime, for any split of a text into passes."""

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
    """A frame and a question, in the form for a runtime."""

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


def greedy_ids(runtime: Runtime[Any], inputs: Inputs) -> list[int]:
    features = [runtime.encode_image(tile[None]) for tile in inputs.pixel_values]
    state, after = runtime.prefill(inputs.input_ids, features)
    ids = after.ids
    while len(ids) < TOKENS:
        ids += runtime.decode(state, ids[-1]).ids
    assert state.length == len(inputs.input_ids) + TOKENS - 1
    return ids


def assert_predicts_alike(
    runtime: Runtime[Any], reference: Runtime[Any], inputs: Sequence[Inputs]
) -> None:
    different: set[int] = set()
    for index, case in enumerate(inputs):
        ids = greedy_ids(runtime, case)
        assert ids == greedy_ids(reference, case), f"case {index}"
        different |= set(ids)
    assert len(different) >= FEWEST_DIFFERENT_IDS, "answers that hardly differ prove nothing"


def test_bundled_model_predicts_as_torch_does(
    runtime: OpenVinoRuntime, nano_dir: Path, inputs: list[Inputs]
) -> None:
    assert_predicts_alike(runtime, torch_runtime(nano_dir), inputs[::2])


def test_smolvlm_type_and_several_tiles_predict_as_torch_does(
    tiled_dir: Path, tmp_path: Path, frames: list[Image.Image]
) -> None:
    # SmolVLM 2 has another class name, and differs only for videos.
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
    assert max(len(case.pixel_values) for case in inputs) > 1
    runtime = OpenVinoRuntime.load(folder, FLOAT32, print)
    assert_predicts_alike(runtime, torch_runtime(folder), inputs)


@pytest.mark.slow
def test_shape_of_smolvlm_256m_predicts_as_torch_does(
    exact_shape_dir: Path, shared_dir: Path
) -> None:
    builder = InputBuilder.load(exact_shape_dir)
    photos = [
        decode_image(file.read_bytes()) for file in sorted((shared_dir / "photos").glob("*.jpg"))
    ]
    inputs = [make_inputs(builder, photo, PROMPTS[0]) for photo in photos[:4]]
    runtime = OpenVinoRuntime.load(exact_shape_dir, FLOAT32, print)
    assert_predicts_alike(runtime, torch_runtime(exact_shape_dir), inputs)


@pytest.fixture(scope="module")
def int8_runtime(nano_dir: Path) -> OpenVinoRuntime:
    """The bundled model with all weights in int8."""
    return OpenVinoRuntime.load(nano_dir, precision_here("int8", 0, int8_vision=True), print)


@pytest.fixture(scope="module")
def int4_runtime(nano_dir: Path) -> OpenVinoRuntime:
    """The bundled model with a text model in int4."""
    return OpenVinoRuntime.load(nano_dir, precision_here("int4", 0), print)


@pytest.mark.parametrize("name", ["runtime", "int8_runtime", "int4_runtime"])
def test_any_split_into_passes_gives_the_same_predictions(
    request: pytest.FixtureRequest, inputs: list[Inputs], name: str
) -> None:
    runtime: OpenVinoRuntime = request.getfixturevalue(name)
    rng = random.Random(0)
    for case in inputs[::7]:
        features = [runtime.encode_image(case.pixel_values)]
        ids = greedy_ids(runtime, case)
        draft = ids[:-1]
        assert runtime.prefill([*case.input_ids, *draft], features, TOKENS)[1].ids == ids
        state, after = runtime.prefill(case.input_ids, features)
        predicted = after.ids
        while len(predicted) < TOKENS:
            more = rng.randint(1, TOKENS - len(predicted))
            fed = ids[len(predicted) - 1 :][:more]
            predicted += runtime.verify(state, fed, len(fed)).ids
        assert predicted == ids


def test_a_long_prompt_in_parts_predicts_as_its_tokens_one_by_one(
    runtime: OpenVinoRuntime, inputs: list[Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = inputs[0]
    features = [runtime.encode_image(case.pixel_values)]
    rng = np.random.default_rng(0)
    after_image = rng.integers(9, 900, 200).tolist()
    ids = [*case.input_ids, *after_image]
    state, after = runtime.prefill(case.input_ids, features, want_logits=True)
    one_by_one = [after, *(runtime.decode(state, each, want_logits=True) for each in after_image)]
    monkeypatch.setattr("vlm.runtimes.openvino.text._LONG_PART", 64)
    # The last part must hold all that is predicted.
    for count in (1, 64, len(after_image) + 1):
        filled, long = runtime.prefill(ids, features, count, want_logits=True)
        assert filled.length == len(ids)
        assert long.ids == [each.ids[0] for each in one_by_one[-count:]]
        assert long.logits is not None
        logits = [each.logits[0] for each in one_by_one[-count:] if each.logits is not None]
        assert np.allclose(long.logits, logits, atol=1e-4)
        again = runtime.decode(filled, 9, want_logits=True).logits
        whole = runtime.decode(runtime.fork(state, len(ids)), 9, want_logits=True).logits
        assert again is not None and whole is not None and np.allclose(again, whole, atol=1e-4)
    # The end of a prompt anew, behind what is copied.
    positions = np.arange(len(case.input_ids), len(ids))
    copy, refed = runtime.refeed(filled, positions, after_image, [], 1)
    assert refed.ids == one_by_one[-1].ids and copy.length == len(ids)


def test_truncated_tokens_do_not_change_predictions(
    runtime: OpenVinoRuntime, inputs: list[Inputs]
) -> None:
    rng = random.Random(0)
    for case in inputs[::7]:
        features = [runtime.encode_image(case.pixel_values)]
        ids = greedy_ids(runtime, case)
        prompt = len(case.input_ids)
        state, after = runtime.prefill([*case.input_ids, *range(9, 20)], features, 12)
        runtime.truncate(state, prompt)
        predicted = after.ids[:1]
        while len(predicted) < TOKENS:
            wrong = [rng.randrange(9, 900) for _ in range(rng.randint(1, 5))]
            after = runtime.verify(state, [predicted[-1], *wrong], len(wrong) + 1)
            predicted += after.ids[:1]
            runtime.truncate(state, prompt + len(predicted) - 1)
            assert state.length == prompt + len(predicted) - 1
        assert predicted == ids


def test_fork_and_origin_are_independent(runtime: OpenVinoRuntime, inputs: list[Inputs]) -> None:
    case, other = inputs[0], inputs[1]
    features = [runtime.encode_image(case.pixel_values)]
    shared = next(
        index
        for index, pair in enumerate(zip(case.input_ids, other.input_ids, strict=False))
        if pair[0] != pair[1]
    )
    state, _ = runtime.prefill(case.input_ids, features)
    fork = runtime.fork(state, shared)
    assert fork.length == shared
    rest = other.input_ids[shared:]
    ids = runtime.verify(fork, rest, 1).ids
    again = runtime.fork(state, len(case.input_ids))
    ours = [greedy_ids(runtime, case)[0]]
    while len(ids) < TOKENS:
        ids += runtime.decode(fork, ids[-1]).ids
        ours += runtime.decode(again, ours[-1]).ids
    assert ids == greedy_ids(runtime, other)
    assert ours == greedy_ids(runtime, case)


def test_fork_drops_truncated_tokens(runtime: OpenVinoRuntime, inputs: list[Inputs]) -> None:
    features = [runtime.encode_image(inputs[0].pixel_values)]
    ids = greedy_ids(runtime, inputs[0])
    state, _ = runtime.prefill(inputs[0].input_ids, features)
    runtime.verify(state, [9, 10, 11, 12], 1)
    runtime.truncate(state, len(inputs[0].input_ids))
    runtime.verify(state, ids[:4], 1)
    fork = runtime.fork(state, state.length)
    assert runtime.decode(fork, ids[4]).ids == [ids[5]]
    assert fork.nbytes < state.nbytes


def test_features_of_tiles_do_not_depend_on_the_batch(
    runtime: OpenVinoRuntime, inputs: list[Inputs]
) -> None:
    tiles = np.concatenate([case.pixel_values for case in inputs[:6:3]])
    together = runtime.encode_image(tiles)
    apart = np.concatenate([runtime.encode_image(tile[None]) for tile in tiles])
    assert np.allclose(together, apart, atol=1e-4)


def test_int8_features_are_close_to_float32(
    runtime: OpenVinoRuntime, int8_runtime: OpenVinoRuntime, inputs: list[Inputs]
) -> None:
    assert int8_runtime.dtype == "int8, int8 vision"
    for case in inputs[::7]:
        exact = runtime.encode_image(case.pixel_values)
        error = int8_runtime.encode_image(case.pixel_values) - exact
        assert 0 < np.linalg.norm(error) < 0.1 * np.linalg.norm(exact)


def test_wrong_number_of_features_is_refused(
    runtime: OpenVinoRuntime, inputs: list[Inputs]
) -> None:
    features = runtime.encode_image(inputs[0].pixel_values)
    with pytest.raises(ValueError, match="image tokens"):
        runtime.prefill(inputs[0].input_ids, [features[:-1]])


def test_tiles_of_wrong_size_are_refused(runtime: OpenVinoRuntime) -> None:
    with pytest.raises(ValueError, match="tiles of 64 pixels"):
        runtime.encode_image(np.zeros((1, 3, 64, 64), np.float32))
