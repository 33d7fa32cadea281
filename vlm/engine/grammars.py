"""The forms of answers as grammars, with llguidance's parser: which tokens may come next."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vlm.engine.sampling import FloatLogits
from vlm.engine.schemas import narrowed
from vlm.errors import FormError
from vlm.types import Form

if TYPE_CHECKING:
    from llguidance import LLMatcher

# Building a grammar takes time that grows with its text.
FORM_MAX_CHARS: Final = 64 * 2**10
# The parser ends the process at some numbers further below zero (docs/surprises.md).
_LEAST_NUMBER: Final = -(2**62)
# Of the least common multiple. Each remainder is a state of the grammar: for a million of them the
# model's thread would wait ten seconds.
_MAX_REMAINDERS: Final = 10_000
# Of all `maxLength` in a schema, times its `pattern`s: each character may be a state for each
# pattern, 20 microseconds of the model's thread.
_MAX_PATTERN_CHARS: Final = 50_000
# Of the parser's own unit, a fifth of its default: a regular expression is prepared in 0.1 s.
_LEXER_FUEL: Final = 200_000

# One blank may lead, since models write one after the role; it is not shown. Otherwise no more
# white space than one blank between two tokens: a model may continue it without end. What the
# parser cannot hold, it reports as a warning.
_OPTIONS: Final = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
    "coerce_one_of": True,
}
_BLANK: Final = 'start: " "? body\nbody: '
_ANY_OBJECT: Final = Form("json_schema", '{"type": "object"}')
# An answer may break these, which is said; pydantic writes them for sets, bytes and paths.
_MAY_BREAK: Final = ("uniqueItems",)
_KEYS: Final = re.compile(r"Unimplemented keys: \[(.*)\]")
_REASON_MAX_CHARS: Final = 200
_WHITE_SPACE: Final = "JSON has one blank after each colon and comma, and no other white space."


def check_form(form: Form) -> tuple[str, ...]:
    """Return the keywords of `form` that an answer may break; mostly none.

    Raise FormError, with the keyword in its message, if answers cannot have this form.
    """
    from llguidance import LLMatcher

    if len(form.source) > FORM_MAX_CHARS:
        raise FormError(f"It is longer than {FORM_MAX_CHARS:,} characters.")
    try:
        form.source.encode()
    except UnicodeEncodeError:
        raise FormError("It is not Unicode text.") from None
    if form.kind == "json_schema":
        _check_numbers(json.loads(form.source))
    is_wrong, messages = LLMatcher.validate_grammar_with_warnings(_grammar(form))
    if is_wrong:
        raise FormError(_complaint(messages[0]))
    broken = [keyword for message in messages for keyword in _broken(message)]
    return tuple(dict.fromkeys(broken))


def _check_numbers(schema: object) -> None:
    """Raise FormError for a number that ends the process, or makes a grammar of too many states."""
    remainders, chars, patterns = 1, 0.0, 0
    rest = [schema]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest += value.values()
            factor = value.get("multipleOf")
            if isinstance(factor, int | float) and not isinstance(factor, bool):
                remainders = math.lcm(remainders, _digits(factor))
            patterns += "pattern" in value
            most_chars = value.get("maxLength")
            if isinstance(most_chars, int | float):
                chars += min(max(most_chars, 0), _MAX_PATTERN_CHARS + 1)
        elif isinstance(value, list):
            rest += value
        elif isinstance(value, int | float) and value < _LEAST_NUMBER:
            raise FormError(f"No number below {_LEAST_NUMBER:,} is supported.")
        if remainders > _MAX_REMAINDERS:
            raise FormError(
                "The keyword `multipleOf` is supported for values whose least common multiple is "
                f"at most {_MAX_REMAINDERS:,}."
            )
    if patterns * chars > _MAX_PATTERN_CHARS:
        raise FormError(
            "The values of the keyword `maxLength` together, times the number of `pattern`s, are "
            f"supported up to {_MAX_PATTERN_CHARS:,}."
        )


def _digits(number: float) -> int:
    """Return the digits of `number` that are not zeros at its ends; or raise FormError."""
    if not 0 < number < math.inf:
        raise FormError("The keyword `multipleOf` must be above 0.")
    digits = Decimal(str(number)).normalize().as_tuple().digits
    return int("".join(map(str, digits)))


class Grammars:
    """Makes the grammar of each answer, over one tokenizer."""

    def __init__(self, tokenizer_json: str, end_ids: Iterable[int]) -> None:
        """`tokenizer_json` is the content of `tokenizer.json`; `end_ids` end an answer.

        Takes some tenths of a second for a vocabulary of 49,000.
        """
        # Imported here: only answers of a given form need the package.
        from llguidance import LLTokenizer

        self._tokenizer = LLTokenizer(tokenizer_json, eos_token=sorted(end_ids))

    def for_one_answer(self, form: Form | None, begun: str = "") -> FormGrammar:
        """Return a processor for the rest of an answer that begins with `begun`.

        It is for JSON of any object if `form` is None. Raise FormError if answers cannot have this
        form, or cannot begin so.
        """
        from llguidance import LLMatcher, LLParserLimits

        limits = LLParserLimits(initial_lexer_fuel=_LEXER_FUEL)
        grammar = _grammar(form or _ANY_OBJECT)
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=limits)
        if matcher.is_error():
            raise FormError(f"The form of the answer: {_complaint(matcher.get_error())}")
        ids = self._tokenizer.tokenize_str(begun)
        if matcher.try_consume_tokens(ids) < len(ids) or matcher.is_stopped():
            is_json = form is None or form.kind == "json_schema"
            raise FormError(
                "The last message is not the beginning of an answer of the demanded form."
                + (f" {_WHITE_SPACE}" if is_json else "")
            )
        return FormGrammar(matcher)


class FormGrammar:
    """A LogitsProcessor that allows only tokens that continue an answer of its form."""

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
        # The parser stops after an error too: then the answer is a part of one only.
        if self._matcher.is_error():
            raise FormError("The form of the answer is too complex. Make it simpler.")


def _grammar(form: Form) -> str:
    """Return `form` as a grammar in llguidance's variant of Lark."""
    if form.kind == "json_schema":
        schema: dict[str, Any] = {**narrowed(json.loads(form.source)), "x-guidance": _OPTIONS}
        return f"{_BLANK}%json {json.dumps(schema)}"
    if form.kind == "choice":
        return _BLANK + " | ".join(json.dumps(each) for each in json.loads(form.source))
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_regex(form.source)


def _broken(warning: str) -> list[str]:
    """Return the keywords that a warning of the parser names; raise FormError for most."""
    keys = _KEYS.search(warning)
    if keys is None:
        return ["oneOf" if warning.startswith("oneOf") else "format"]
    names = [name.strip(' "') for name in keys[1].split(",")]
    for name in names:
        if name not in _MAY_BREAK:
            raise FormError(f"The keyword `{name}` is not supported.")
    return names


def _complaint(error: str) -> str:
    """Return the parser's error as a sentence, without its quotation of the grammar."""
    reason = error.partition("\n   1 | ")[0].rpartition("failed to compile JSON schema: ")[2]
    keyword = ""
    if "regex" in reason:
        keyword = "The keyword `pattern`, or a regular expression, is not supported: "
    elif reason.startswith(("Resource", "Pointer")):
        keyword = "The keyword `$ref` is not supported here: "
    return f"{keyword}{' '.join(reason.split())[:_REASON_MAX_CHARS].rstrip('.')}."
