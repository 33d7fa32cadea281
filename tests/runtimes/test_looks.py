"""Laws of looks: they are the weights of transformers' eager attention, on each runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engine_kit import question_ids, torch_runtime
from vlm.engine.inputs import InputBuilder
from vlm.runtimes.openvino.platform import precision_here
from vlm.runtimes.openvino.runtime import OpenVinoRuntime
from vlm.runtimes.torch.eager import load_model
from vlm.runtimes.torch.static import StaticTorchRuntime

pytest.importorskip("openvino")

CLOSE = 1e-5
ANSWER = " A big striped red star at the top left, a blue ring and an orange arrow"


@pytest.fixture(scope="module", params=["openvino", "torch", "static"])
def runtime(request: pytest.FixtureRequest, nano_dir: Path) -> Any:
    if request.param == "openvino":
        return request.getfixturevalue("openvino")
    if request.param == "torch":
        return torch_runtime(nano_dir)
    model = load_model(nano_dir, torch.float32, "cpu")
    return StaticTorchRuntime(model, torch.device("cpu"), slots=2, block_tokens=32)


def assert_look_laws(
    runtime: Any, folder: Path, builder: InputBuilder, image: Image.Image, close: float
) -> None:
    processor = builder.image_processor
    prompt = question_ids(builder, "What is this?", processor.grid_of(image.size, "low"))
    answer = builder.tokenizer.encode_typed(ANSWER)
    ids, known = [*prompt, *answer], len(prompt) - 1
    pixels = processor.pixel_values(image, "low")
    state, _ = runtime.prefill(ids, [runtime.encode_image(pixels)])
    before = runtime.verify(runtime.fork(state, len(ids)), answer[:1], 1, want_logits=True)
    layers = range(runtime.layers)
    weights, logits = runtime.looks(state, known, ids[known:], layers)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=CLOSE)

    model = load_model(folder, torch.float32, "cpu")
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        output = model(
            input_ids=torch.tensor([ids]),
            pixel_values=torch.from_numpy(pixels)[None],
            output_attentions=True,
        )
    expected = torch.stack(output.attentions)[:, 0, :, known:].numpy()
    assert weights.dtype == np.float32 and weights.shape == expected.shape
    np.testing.assert_allclose(weights, expected, atol=close)
    np.testing.assert_allclose(logits, output.logits[0, known:].numpy(), atol=100 * close)

    # Some rows and layers, behind an answer's first tokens: the same.
    some, _ = runtime.looks(state, known + 3, ids[known + 3 : known + 8], [layers[-1], 0])
    np.testing.assert_allclose(some, weights[[layers[-1], 0], :, 3:8, : known + 8], atol=CLOSE)
    # The state is as it was, and so is what follows it.
    assert state.length == len(ids)
    after = runtime.verify(state, answer[:1], 1, want_logits=True)
    assert after.ids == before.ids
    np.testing.assert_array_equal(after.logits, before.logits)


def test_looks_are_transformers_attention_and_leave_the_state(
    runtime: Any, nano_dir: Path, builder: InputBuilder, frames: list[Image.Image]
) -> None:
    assert_look_laws(runtime, nano_dir, builder, frames[0], CLOSE)


@pytest.mark.slow
def test_looks_of_smolvlm_256m_are_transformers_attention(
    exact_shape_dir: Path, frames: list[Image.Image]
) -> None:
    # Its weights are the checkpoint's own in float32 alone.
    runtime = OpenVinoRuntime.load(exact_shape_dir, precision_here("float32", 0), print)
    inputs = InputBuilder.load(exact_shape_dir)
    assert_look_laws(runtime, exact_shape_dir, inputs, frames[0], CLOSE)


def test_looks_behind_a_refed_prompt_are_in_the_order_of_positions(
    openvino: OpenVinoRuntime, builder: InputBuilder, frames: list[Image.Image]
) -> None:
    processor = builder.image_processor
    ids = question_ids(builder, "What is this?", processor.grid_of(frames[0].size, "low"))
    features = openvino.encode_image(processor.pixel_values(frames[0], "low"))
    state, _ = openvino.prefill(ids, [features])
    image = np.flatnonzero(np.asarray(ids) == builder.image_token_id)
    # All rows from the middle of the image on, but a few, are fed anew.
    positions = np.delete(np.arange(image[20], len(ids)), [7, 9])
    refed, _ = openvino.refeed(
        state,
        positions,
        np.asarray(ids)[positions].tolist(),
        [features[np.isin(image, positions)]],
        1,
    )
    for length in (len(ids) - 1, len(ids)):
        expected = openvino.looks(state, length, ids[-1:], [0, 3])
        found = openvino.looks(refed, length, ids[-1:], [0, 3])
        np.testing.assert_allclose(found.weights, expected.weights, atol=CLOSE)
