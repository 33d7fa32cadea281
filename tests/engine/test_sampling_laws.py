"""Penalties, biases and the tokens that may be drawn, as in transformers or by their formula."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from engine_kit import chat_request
from vlm.engine.engine import Engine
from vlm.engine.penalties import processors_of
from vlm.engine.sampling import candidates
from vlm.errors import BadRequestError
from vlm.processing.tokenizer import Tokenizer
from vlm.types import Message, Sampling

VOCABULARY = 200
PROMPT, ANSWER = (3, 5, 5, 9), (7, 5, 7, 7)


def random_logits(seed: int) -> Any:
    return (4 * np.random.default_rng(seed).standard_normal(VOCABULARY)).astype(np.float32)


def processed(sampling: Sampling, logits: Any) -> Any:
    before = logits.copy()
    after = logits
    for process in processors_of(sampling, PROMPT):
        assert not process.is_over(ANSWER)
        after = process(ANSWER, after)
    assert np.array_equal(logits, before), "a processor returns new logits"
    return after


@pytest.mark.parametrize("penalty", [0.5, 1.05, 2.0])
def test_the_repetition_penalty_equals_that_of_transformers(penalty: float) -> None:
    logits = random_logits(0)
    ids = torch.tensor([[*PROMPT, *ANSWER]])
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(ids, torch.from_numpy(logits)[None].clone())
    ours = processed(Sampling(repetition_penalty=penalty), logits)
    assert np.array_equal(ours, theirs[0].numpy())


def test_penalties_of_the_answer_and_biases_are_subtracted_and_added() -> None:
    logits = random_logits(1)
    sampling = Sampling(
        presence_penalty=0.5, frequency_penalty=-0.25, logit_bias=((7, 1.5), (0, -100.0))
    )
    counts = Counter(ANSWER)
    expected = logits.astype(np.float64)
    expected[[7, 0]] += (1.5, -100.0)
    for token_id, count in counts.items():
        expected[token_id] -= 0.5 - 0.25 * count
    assert processed(sampling, logits) == pytest.approx(expected, abs=1e-4)


def test_neutral_values_need_no_processor() -> None:
    assert processors_of(Sampling(temperature=1, top_k=5, min_p=0.5), PROMPT) == []
    assert Sampling(top_k=5, min_p=0.5).is_argmax
    assert not Sampling(frequency_penalty=0.1).is_argmax


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "min_p"),
    [(0.7, 4, 1.0, 0.0), (2, 0, 0.8, 0.0), (1, 0, 1.0, 0.1), (1.5, 30, 0.9, 0.02), (1, 1, 0.1, 1)],
)
def test_tokens_are_drawn_from_the_distribution_of_transformers(
    temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    warpers: list[Any] = [TemperatureLogitsWarper(float(temperature))]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    warpers += [MinPLogitsWarper(min_p)] if min_p else []
    for seed in range(5):
        logits = random_logits(seed)
        scores = torch.from_numpy(logits.astype(np.float64))[None]
        for warp in warpers:
            scores = warp(torch.zeros(1, 0, dtype=torch.long), scores)
        theirs = torch.softmax(scores, -1)[0].numpy()
        ids, probabilities = candidates(
            Sampling(temperature, top_p, None, top_k=top_k, min_p=min_p), logits
        )
        ours = np.zeros(VOCABULARY)
        ours[ids] = probabilities
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_a_bias_decides_each_token_and_must_name_one_of_the_model(
    engine: Engine, nano_dir: Path, frames: list[Image.Image]
) -> None:
    chat = (Message("user", (frames[0], "What is this?")),)
    (token_id,) = Tokenizer.load(nano_dir).encode_typed(" red")
    forced = Sampling(logit_bias=((token_id, 100.0),))
    assert engine.run(chat_request(chat, 3, sampling=forced)).text == "red red red"
    beyond = Sampling(logit_bias=((10**7, 1.0),))
    with pytest.raises(BadRequestError, match="tokens"):
        engine.prepare(chat_request(chat, 3, sampling=beyond))
