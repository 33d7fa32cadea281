"""Choose one token from logits: a list of logits processors, then argmax or a draw."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from vlm.types import Sampling

if TYPE_CHECKING:
    from llguidance import LLMatcher

FloatLogits: TypeAlias = npt.NDArray[np.floating[Any]]

# Smaller temperatures overflow and are argmax anyway.
_MIN_TEMPERATURE: Final = 1e-5
# One blank may lead, since models write one after the role; it is not shown. Otherwise no more
# white space than one blank between two tokens: a model may continue it without end.
_SCHEMA: Final = json.dumps(
    {
        "type": "object",
        "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
    }
)
_ANY_OBJECT: Final = f'start: " "? object\nobject: %json {_SCHEMA}'


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
        logprobs = _log_softmax(logits)
        likeliest = np.argsort(-logprobs, kind="stable")[: self._top_logprobs].tolist()
        return Token(
            token_id,
            float(logprobs[token_id]),
            tuple((each, float(logprobs[each])) for each in likeliest),
        )

    def _draw(self, logits: FloatLogits) -> int:
        """Return a draw by nucleus sampling (Holtzman et al., 2020, arxiv.org/abs/1904.09751)."""
        temperature = max(self._sampling.temperature, _MIN_TEMPERATURE)
        probabilities = np.exp(_log_softmax(logits.astype(np.float64) / temperature))
        order = np.argsort(-probabilities, kind="stable")
        cumulated = probabilities[order].cumsum()
        # The fewest tokens that have `top_p` together, and at least one.
        nucleus = 1 + int((cumulated < self._sampling.top_p).sum())
        kept = cumulated[:nucleus]
        drawn = int(np.searchsorted(kept, self._random.random() * kept[-1], side="right"))
        return int(order[drawn])


class JsonGrammars:
    """Makes the JSON grammar of each answer, over one tokenizer, with llguidance's parser."""

    def __init__(self, tokenizer_json: str, end_ids: Iterable[int]) -> None:
        """`tokenizer_json` is the content of `tokenizer.json`; `end_ids` end an answer.

        Takes some tenths of a second for a vocabulary of 49,000.
        """
        # Imported here: only answers in JSON need the package.
        from llguidance import LLMatcher, LLTokenizer

        self._tokenizer = LLTokenizer(tokenizer_json, eos_token=sorted(end_ids))
        self._grammar = LLMatcher.grammar_from_lark(_ANY_OBJECT)

    def for_one_answer(self) -> JsonGrammar:
        """Return a processor in its initial state."""
        from llguidance import LLMatcher

        return JsonGrammar(LLMatcher(self._tokenizer, self._grammar, log_level=0))


class JsonGrammar:
    """A LogitsProcessor that allows only tokens that continue one JSON object."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher
        self._consumed = 0

    def __call__(self, ids: Sequence[int], logits: FloatLogits) -> FloatLogits:
        self._consume(ids)
        bits = np.unpackbits(
            np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little"
        )
        # A model may have logits beyond the vocabulary, and the mask is padded to whole bytes.
        allowed = np.flatnonzero(bits[: len(logits)])
        masked = np.full_like(logits, -np.inf)
        masked[allowed] = logits[allowed]
        return masked

    def is_over(self, ids: Sequence[int]) -> bool:
        self._consume(ids)
        return self._matcher.is_stopped()

    def _consume(self, ids: Sequence[int]) -> None:
        for token_id in ids[self._consumed :]:
            self._matcher.consume_token(token_id)
        self._consumed = len(ids)


def _log_softmax(logits: FloatLogits) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max()
    logprobs: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return logprobs
