"""Answers that are one JSON object, token by token, by llguidance's parser."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np

from vlm.sampling import Allowed

if TYPE_CHECKING:
    from llguidance import LLMatcher

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
        """A `vlm.sampling.Grammar` that has met nothing yet."""
        from llguidance import LLMatcher

        return JsonGrammar(LLMatcher(self._tokenizer, self._grammar, log_level=0))


class JsonGrammar:
    """See `vlm.sampling.Grammar`."""

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
