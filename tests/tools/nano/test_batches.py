"""Training batches: packed questions give the same logits as each question alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tools.nano import camera
from tools.nano.batches import (
    LABEL_NAMES,
    MAX_ROW_TOKENS,
    NO_TARGET,
    Batch,
    FrameBatches,
    model_pixels,
)
from tools.nano.objective import answer_logits, normalised
from tools.nano.questions import Exchange, exchanges
from tools.nano.scenes import Frame, make_frame
from tools.nano.truth import FRAME_SIDE_PX, IMAGE_TOKENS, PATCH_GRID
from tools.reference import chat_messages

BATCH, QUESTIONS, INDEX = 3, 4, 5
# Float32 sums in another order; logits of other inputs differ by whole units.
TOLERANCE = 2e-3


@pytest.fixture(scope="module")
def dataset(processor: Any) -> FrameBatches:
    return FrameBatches(processor, "train", BATCH, QUESTIONS)


@pytest.fixture(scope="module")
def batch(dataset: FrameBatches) -> Batch:
    return dataset[INDEX]


@pytest.fixture(scope="module")
def questions() -> list[tuple[Frame, list[Exchange]]]:
    """The frames of `batch` with their questions, drawn as `FrameBatches` draws them."""
    rng = np.random.default_rng([INDEX, BATCH])
    frames = [make_frame(seed) for seed in range(INDEX * BATCH, (INDEX + 1) * BATCH)]
    return [(frame, exchanges(frame.scene, rng, QUESTIONS)) for frame in frames]


@torch.inference_mode()
def packed_logits(model: Any, batch: Batch) -> torch.Tensor:
    pixels = normalised(batch.pixels, torch.float32)
    features = model.model.vision_model(pixels).last_hidden_state
    return answer_logits(model, features, batch)


@torch.inference_mode()
def lone_logits(
    model: Any, processor: Any, image: Image.Image, exchange: Exchange
) -> tuple[torch.Tensor, list[int]]:
    """Logits and ids of one answer with its end token, in a chat of its own."""
    text = processor.apply_chat_template(
        chat_messages(exchange.prompt), add_generation_prompt=True, tokenize=False
    )
    prompt, whole = (
        processor(text=each, images=[image], return_tensors="pt")
        for each in (text, f"{text} {exchange.answer}<end_of_utterance>")
    )
    start, end = prompt["input_ids"].shape[1], whole["input_ids"].shape[1]
    assert torch.equal(whole["input_ids"][:, :start], prompt["input_ids"])
    logits = model(**whole).logits[0, start - 1 : end - 1]
    return logits, whole["input_ids"][0, start:].tolist()


def kept(
    batch: Batch, questions: list[tuple[Frame, list[Exchange]]]
) -> Iterator[tuple[Frame, Exchange]]:
    """The questions in `batch`, row by row; branch n is the n-th exchange."""
    for row, (frame, exchanges_of_frame) in zip(batch.branches, questions, strict=True):
        for number, exchange in enumerate(exchanges_of_frame, start=1):
            if (row == number).any():
                yield frame, exchange


def test_packed_questions_have_the_logits_of_separate_chats(
    sharp_model: Any,
    processor: Any,
    batch: Batch,
    questions: list[tuple[Frame, list[Exchange]]],
) -> None:
    packed = packed_logits(sharp_model, batch)
    targets = batch.targets[batch.targets != NO_TARGET].tolist()
    start = 0
    tasks = set()
    for frame, exchange in kept(batch, questions):
        alone, ids = lone_logits(sharp_model, processor, frame.image, exchange)
        end = start + len(ids)
        assert targets[start:end] == ids
        torch.testing.assert_close(packed[start:end], alone, atol=TOLERANCE, rtol=0)
        tasks.add(exchange.task)
        start = end
    assert start == len(targets)
    assert len(tasks) > 4


def test_logits_depend_on_positions_and_branches(sharp_model: Any, batch: Batch) -> None:
    right = packed_logits(sharp_model, batch)
    moved = replace(batch, positions=batch.positions + (batch.branches == 2))
    leaky = replace(batch, branches=torch.where(batch.branches == 2, 1, batch.branches))
    for wrong in (moved, leaky):
        assert (packed_logits(sharp_model, wrong) - right).abs().max() > 10 * TOLERANCE


def test_rows_are_bounded_and_have_a_first_question(batch: Batch) -> None:
    assert ((batch.branches >= 0).sum(1) <= MAX_ROW_TOKENS).all()
    assert (batch.branches == 1).any(1).all()
    assert batch.input_ids.shape[1] % 16 == 0


def test_batch_has_the_documented_shapes(batch: Batch) -> None:
    tokens = batch.input_ids.shape
    assert batch.pixels.shape == (BATCH, 3, FRAME_SIDE_PX, FRAME_SIDE_PX)
    assert batch.pixels.dtype == torch.uint8
    assert batch.labels.shape == (BATCH, len(LABEL_NAMES), PATCH_GRID, PATCH_GRID)
    assert batch.positions.shape == batch.branches.shape == batch.targets.shape == tokens
    assert batch.attention_mask().shape == (BATCH, 1, tokens[1], tokens[1])


def test_each_row_has_one_frame(batch: Batch, processor: Any) -> None:
    images = (batch.input_ids == processor.image_token_id) & (batch.branches == 0)
    assert images.sum(1).tolist() == [IMAGE_TOKENS] * BATCH


def test_batch_is_deterministic(dataset: FrameBatches, batch: Batch) -> None:
    for name, tensor in vars(dataset[INDEX]).items():
        assert torch.equal(tensor, getattr(batch, name)), name


def picture(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("longest", camera.LONGEST_SIDE_PX)
@pytest.mark.parametrize("aspect", [*camera.ASPECTS, (9, 16), (201, 200), (3, 1)])
def test_model_pixels_equal_the_processors(
    processor: Any, aspect: tuple[int, int], longest: int
) -> None:
    width, height = (round(side * longest / max(aspect)) for side in aspect)
    image = picture(width, height)
    values = processor.image_processor(images=[image], return_tensors="np")["pixel_values"]
    assert values.shape == (1, 1, 3, FRAME_SIDE_PX, FRAME_SIDE_PX)
    expected = np.rint((values[0, 0] + 1) * 127.5).astype(int)
    assert (model_pixels(image).astype(int) == expected).all()


def test_training_and_processor_normalise_alike(processor: Any) -> None:
    image = picture(192, 144)
    values = processor.image_processor(images=[image], return_tensors="pt")["pixel_values"]
    ours = normalised(torch.from_numpy(model_pixels(image).copy()), torch.float32)
    torch.testing.assert_close(ours, values[0, 0].to(torch.float32), atol=1e-6, rtol=0)


def test_repeated_frames_have_new_questions(processor: Any) -> None:
    fresh = FrameBatches(processor, "train", 4, 2)
    kept = FrameBatches(processor, "train", 4, 2, distinct=4)
    assert torch.equal(kept[0].pixels, fresh[0].pixels)
    assert torch.equal(kept[0].labels, fresh[0].labels)
    assert torch.equal(kept[1].pixels, kept[0].pixels)
    assert not torch.equal(fresh[1].pixels, fresh[0].pixels)
    assert kept[1].input_ids.tolist() != kept[0].input_ids.tolist()


def test_run_can_start_after_the_frames_of_an_earlier_one(processor: Any) -> None:
    earlier = FrameBatches(processor, "train", 4, 2)
    for distinct in (0, 4):
        later = FrameBatches(processor, "train", 4, 2, distinct, first_frame=4)
        assert torch.equal(later[0].pixels, earlier[1].pixels)
        assert not torch.equal(later[1].pixels, earlier[0].pixels)
