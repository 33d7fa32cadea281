"""Logits processors that a request may ask for: biases of tokens, penalties of repetition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vlm.engine.sampling import FloatLogits, LogitsProcessor
from vlm.types import Sampling


def processors_of(sampling: Sampling, prompt_ids: Sequence[int]) -> list[LogitsProcessor]:
    """Return the processors of one answer after `prompt_ids`, in order; mostly none."""
    processors: list[LogitsProcessor] = []
    if sampling.logit_bias:
        processors.append(LogitBias(sampling.logit_bias))
    if sampling.repetition_penalty != 1.0:
        processors.append(RepetitionPenalty(sampling.repetition_penalty, prompt_ids))
    if sampling.presence_penalty or sampling.frequency_penalty:
        processors.append(CountPenalty(sampling.presence_penalty, sampling.frequency_penalty))
    return processors


class _Endless:
    """A processor that ends no answer."""

    def is_over(self, ids: Sequence[int]) -> bool:
        return False


class LogitBias(_Endless):
    """Adds a bias to the logits of some tokens."""

    def __init__(self, bias: Sequence[tuple[int, float]]) -> None:
        self._ids = [token_id for token_id, _ in bias]
        self._bias = np.array([value for _, value in bias])

    def __call__(self, ids: Sequence[int], logits: FloatLogits) -> FloatLogits:
        logits = logits.copy()
        logits[self._ids] += self._bias.astype(logits.dtype)
        return logits


class RepetitionPenalty(_Endless):
    """Makes tokens of prompt and answer less likely: a logit is divided if positive, or multiplied.

    Keskar et al., 2019, arxiv.org/abs/1909.05858; equal to transformers', which counts the prompt.
    """

    def __init__(self, penalty: float, prompt_ids: Sequence[int]) -> None:
        self._penalty = penalty
        self._prompt_ids = set(prompt_ids)

    def __call__(self, ids: Sequence[int], logits: FloatLogits) -> FloatLogits:
        logits = logits.copy()
        seen = sorted(self._prompt_ids.union(ids))
        found = logits[seen]
        logits[seen] = np.where(found < 0, found * self._penalty, found / self._penalty)
        return logits


class CountPenalty(_Endless):
    """Subtracts `presence` from tokens of the answer, and `frequency` for each time they came."""

    def __init__(self, presence: float, frequency: float) -> None:
        self._presence = presence
        self._frequency = frequency

    def __call__(self, ids: Sequence[int], logits: FloatLogits) -> FloatLogits:
        logits = logits.copy()
        for token_id, count in Counter(ids).items():
            logits[token_id] -= self._presence + self._frequency * count
        return logits
