"""One token out of logits: the likeliest, or drawn, with its probability where asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from vlm.runtimes.base import Logits
from vlm.types import Sampling

if TYPE_CHECKING:
    from llguidance import LLMatcher

Allowed: TypeAlias = npt.NDArray[np.bool_]

_NEVER: Final = -np.inf
# Below it only one token has a probability at all, and dividing would leave the range of numbers.
_LEAST_TEMPERATURE: Final = 1e-5


class Token(NamedTuple):
    """One token of an answer; natural log probabilities only where they were asked for."""

    id: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    """Ids and log probabilities of the likeliest tokens in its place, the likeliest first."""


class Grammar(Protocol):
    """Which tokens may come next, and whether any may."""

    def allowed(self) -> Allowed:
        """[vocabulary], true where the token may be next; where the text may end, ends too."""

    def take(self, token_id: int) -> None:
        """`token_id`, an allowed one, has come."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come."""


class TokenPicker:
    """Picks the tokens of one answer, one after the other."""

    def __init__(
        self, sampling: Sampling, top_logprobs: int | None = None, grammar: Grammar | None = None
    ) -> None:
        """`top_logprobs` as in Request; `grammar` is of this answer alone."""
        self._sampling = sampling
        self._top_logprobs = top_logprobs
        self._grammar = grammar
        self._random = np.random.default_rng(sampling.seed)

    @property
    def is_over(self) -> bool:
        """Whether the grammar lets nothing more come."""
        return self._grammar is not None and self._grammar.is_over

    def pick(self, logits: Logits) -> Token:
        """The next token by `logits`, [vocabulary]; its logprob is what the model itself gives."""
        candidates = logits
        if self._grammar is not None:
            candidates = np.full_like(logits, _NEVER)
            # A model may have logits beyond the vocabulary, and a mask is as long as whole bytes.
            allowed = np.flatnonzero(self._grammar.allowed()[: len(logits)])
            candidates[allowed] = logits[allowed]
        if self._sampling.temperature > 0:
            token_id = self._drawn(candidates)
        else:
            token_id = int(candidates.argmax())
        if self._grammar is not None:
            self._grammar.take(token_id)
        if self._top_logprobs is None:
            return Token(token_id)
        logprobs = _log_softmax(logits)
        likeliest = np.argsort(-logprobs, kind="stable")[: self._top_logprobs].tolist()
        return Token(
            token_id,
            float(logprobs[token_id]),
            tuple((each, float(logprobs[each])) for each in likeliest),
        )

    def _drawn(self, logits: npt.NDArray[np.float32]) -> int:
        """Nucleus sampling (Holtzman et al., 2020, https://arxiv.org/abs/1904.09751)."""
        temperature = max(self._sampling.temperature, _LEAST_TEMPERATURE)
        scaled = logits.astype(np.float64) / temperature
        probabilities = np.exp(_log_softmax(scaled))
        order = np.argsort(-probabilities, kind="stable")
        cumulated = probabilities[order].cumsum()
        # As few as have `top_p` together, and always one.
        nucleus = 1 + int((cumulated < self._sampling.top_p).sum())
        kept = cumulated[:nucleus]
        drawn = int(np.searchsorted(kept, self._random.random() * kept[-1], side="right"))
        return int(order[drawn])


def _log_softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max()
    logprobs: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return logprobs


# A blank may lead, since models say one after the role that speaks; it is not shown. Else no more
# white space than one between two tokens: a model may go on with it for ever.
_SCHEMA: Final = json.dumps(
    {
        "type": "object",
        "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
    }
)
_ANY_OBJECT: Final = f'start: " "? object\nobject: %json {_SCHEMA}'


class JsonGrammars:
    """Makes the grammar of each answer, over one tokenizer."""

    def __init__(self, tokenizer_json: str, end_ids: Iterable[int]) -> None:
        """`tokenizer_json` is as `tokenizer.json` holds it; `end_ids` end an answer.

        Takes some tenths of a second for a vocabulary of 49,000.
        """
        # Only answers in JSON need the package.
        from llguidance import LLMatcher, LLTokenizer

        self._tokenizer = LLTokenizer(tokenizer_json, eos_token=sorted(end_ids))
        self._grammar = LLMatcher.grammar_from_lark(_ANY_OBJECT)

    def of_one_answer(self) -> JsonGrammar:
        """A `vlm.engine.sampling.Grammar` that has met nothing yet."""
        from llguidance import LLMatcher

        return JsonGrammar(LLMatcher(self._tokenizer, self._grammar, log_level=0))


class JsonGrammar:
    """See `vlm.engine.sampling.Grammar`."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allowed(self) -> Allowed:
        """See `Grammar.allowed`."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return np.unpackbits(bits, bitorder="little").astype(np.bool_)

    def take(self, token_id: int) -> None:
        """See `Grammar.take`."""
        self._matcher.consume_token(token_id)

    @property
    def is_over(self) -> bool:
        """See `Grammar.is_over`."""
        return self._matcher.is_stopped()
