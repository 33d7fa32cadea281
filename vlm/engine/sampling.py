"""Choose one token from logits: a list of logits processors, then argmax or a draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from vlm.types import Sampling

FloatLogits: TypeAlias = npt.NDArray[np.floating[Any]]

# Smaller temperatures overflow and are argmax anyway.
_MIN_TEMPERATURE: Final = 1e-5
# With `sure`, tokens that are reported for each position: the chosen one and three alternatives.
SURE_LOGPROBS: Final = 4


class Token(NamedTuple):
    """One token of an answer."""

    id: int
    logprob: float | None = None
    """Natural logarithm of the model's probability, if requested."""
    top: tuple[tuple[int, float], ...] = ()
    """Ids and log probabilities of the likeliest tokens at this position, the likeliest first."""


class LogitsProcessor(Protocol):
    """Changes the logits of each step of one answer."""

    def __call__(self, ids: Sequence[int], logits: FloatLogits) -> FloatLogits:
        """Return new logits, [vocabulary], for the token after `ids`, the answer so far."""

    def is_over(self, ids: Sequence[int]) -> bool:
        """Return whether nothing can follow `ids`."""


class Sampler:
    """Chooses the tokens of one answer, one after the other."""

    def __init__(
        self,
        sampling: Sampling,
        top_logprobs: int | None = None,
        processors: Sequence[LogitsProcessor] = (),
    ) -> None:
        """`processors` run in order and belong to this answer; `top_logprobs` as in AnswerTask."""
        self._sampling = sampling
        self._top_logprobs = top_logprobs
        self._processors = processors
        self._random = np.random.default_rng(sampling.seed)

    def is_over(self, ids: Sequence[int]) -> bool:
        """Return whether a processor allows nothing after `ids`."""
        return any(each.is_over(ids) for each in self._processors)

    def pick(self, ids: Sequence[int], logits: FloatLogits) -> Token:
        """Return the token after `ids`; its log probability is the model's own, unprocessed."""
        processed = logits
        for process in self._processors:
            processed = process(ids, processed)
        is_argmax = self._sampling.temperature == 0
        token_id = int(processed.argmax()) if is_argmax else self._draw(processed)
        if self._top_logprobs is None:
            return Token(token_id)
        return token_of(token_id, logits, self._top_logprobs)

    def _draw(self, logits: FloatLogits) -> int:
        ids, probabilities = candidates(self._sampling, logits)
        cumulated = probabilities.cumsum()
        drawn = np.searchsorted(cumulated, self._random.random() * cumulated[-1], side="right")
        return int(ids[int(drawn)])


def token_of(token_id: int, logits: FloatLogits, count: int = SURE_LOGPROBS) -> Token:
    """Return the token with its log probability, and those of the `count` likeliest ones."""
    logprobs = _log_softmax(logits)
    likeliest = np.argsort(-logprobs, kind="stable")[:count].tolist()
    top = tuple((each, float(logprobs[each])) for each in likeliest)
    return Token(token_id, float(logprobs[token_id]), top)


def candidates(
    sampling: Sampling, logits: FloatLogits
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return the ids of the tokens that may be drawn, the likeliest first, and their probabilities.

    In the order of transformers: temperature, top-k, top-p (nucleus sampling, Holtzman et al.,
    2020, arxiv.org/abs/1904.09751), min-p (Nguyen et al., 2024, arxiv.org/abs/2407.01082).
    """
    temperature = max(sampling.temperature, _MIN_TEMPERATURE)
    probabilities = np.exp(_log_softmax(logits.astype(np.float64) / temperature))
    order = np.argsort(-probabilities, kind="stable")
    if sampling.top_k > 0:
        order = order[: sampling.top_k]
    probabilities = probabilities[order] / probabilities[order].sum()
    # The fewest tokens that have `top_p` together, and at least one.
    nucleus = 1 + int((probabilities.cumsum() < sampling.top_p).sum())
    likely = int((probabilities >= sampling.min_p * probabilities[0]).sum())
    count = min(nucleus, likely)
    return order[:count], probabilities[:count] / probabilities[:count].sum()


def _log_softmax(logits: FloatLogits) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max()
    logprobs: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return logprobs
