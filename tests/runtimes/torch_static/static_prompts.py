"""Prompts and text to feed to runtimes, with the predictions of the eager torch runtime."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from engine_kit import question_ids
from vlm.engine.inputs import InputBuilder
from vlm.prompts import PRESETS
from vlm.runtimes.torch.eager import TorchRuntime
from vlm.runtimes.torch.slots import StaticKVState
from vlm.runtimes.torch.static import StaticTorchRuntime

CPU = torch.device("cpu")
PROMPTS = (PRESETS[0].prompt, PRESETS[1].prompt, "What is left of the red thing?")
HARDLY_DIFFERENT = "answers that hardly differ prove nothing"
FEWEST_DIFFERENT_IDS = 8
# Shorter than a prompt and an answer, so that every test grows the slots.
BLOCK_TOKENS = 64
TOKENS = 60


class Prompt(NamedTuple):
    """A prompt and a text to feed to a runtime."""

    input_ids: list[int]
    features: list[torch.Tensor]
    text_ids: list[int]
    """Random: the bundled model's own answers end after a few tokens and repeat then."""
    predicted: list[int]
    """`predicted[n]` is the eager runtime's prediction after the first n tokens of the text."""

    def before(self, count: int) -> list[int]:
        """Return the prompt and the first `count` tokens of the text."""
        return [*self.input_ids, *self.text_ids[:count]]


def make_prompts(folder: Path, model: Any, frames: Sequence[Image.Image]) -> list[Prompt]:
    """Return questions of different lengths about different frames, for `model` in `folder`."""
    inputs = InputBuilder.load(folder)
    eager = TorchRuntime(model, CPU)
    rng = random.Random(0)
    prompts = []
    for frame, prompt in zip(frames, PROMPTS * 2, strict=False):
        input_ids = list(
            question_ids(inputs, prompt, inputs.image_processor.grid_of(frame.size, "low"))
        )
        features = [eager.encode_image(inputs.image_processor.pixel_values(frame, "low"))]
        text_ids = [rng.randrange(10, model.config.text_config.vocab_size) for _ in range(TOKENS)]
        state, after = eager.prefill(input_ids, features)
        predicted = after.ids + [eager.decode(state, token_id).ids[0] for token_id in text_ids]
        prompts.append(Prompt(input_ids, features, text_ids, predicted))
    assert len({len(prompt.input_ids) for prompt in prompts}) > 1
    different = {token_id for prompt in prompts for token_id in prompt.predicted}
    assert len(different) >= FEWEST_DIFFERENT_IDS, HARDLY_DIFFERENT
    return prompts


def feed(
    runtime: StaticTorchRuntime, state: StaticKVState, prompt: Prompt, start: int, count: int = 20
) -> None:
    """Feed `count` tokens of the text, one by one, to `state`, which holds those before `start`."""
    assert state.length == len(prompt.before(start))
    for at in range(start, start + count):
        assert runtime.decode(state, prompt.text_ids[at]).ids == [prompt.predicted[at + 1]]
