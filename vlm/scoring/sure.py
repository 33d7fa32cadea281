"""How sure a model is of its answer and of each word, from the log probabilities of its tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vlm.results import TokenLogprob
from vlm.scoring.calibration import Calibration

_WORD: Final = re.compile(r"\S+")
_ALTERNATIVES: Final = 3


@dataclass(frozen=True)
class Alternative:
    """What the model would have written in place of a word's first token."""

    text: str
    probability: float


@dataclass(frozen=True)
class SureWord:
    """A word of an answer, with the marks at it."""

    text: str
    start: int
    """Its place in the answer, in characters."""
    end: int
    probability: float
    """0 to 1, of all its tokens together, given the words before."""
    alternatives: tuple[Alternative, ...]
    """The likeliest first; at most 3."""


@dataclass(frozen=True)
class Sure:
    """How sure a model is of an answer."""

    probability: float
    """0 to 1: the model's own probability of these words, all of them together."""
    unsure: bool | None
    """The probability is below `threshold`; None for a model without calibration."""
    threshold: float | None
    words: tuple[SureWord, ...]


def sure_of(
    text: str, tokens: Sequence[TokenLogprob], calibration: Calibration | None
) -> Sure | None:
    """Return how sure the model is of `text`, which is what `tokens` say, perhaps cut at its end.

    None if there are no tokens, or they say something else.
    """
    written = b"".join(each.token_bytes for each in tokens).decode("utf-8", "replace")
    lead = lead_of(text, written)
    if lead is None:
        return None
    spans = spans_of(tokens, lead)
    words = tuple(
        _word(found, [token for token, (start, end) in spans if _overlap(found, start, end)])
        for found in _WORD.finditer(text)
    )
    probability = math.exp(sum(token.logprob for token, (start, _) in spans if start < len(text)))
    threshold = None if calibration is None else calibration.unsure
    unsure = None if threshold is None else probability < threshold
    return Sure(probability, unsure, threshold, words)


def lead_of(text: str, written: str) -> int | None:
    """Return how many characters of `written`, all blank, come before `text`; None if not `text`.

    `text` may have been cut at its end. It has blanks of its own if it goes on from another one.
    """
    lead = 0 if written.startswith(text) else len(written) - len(written.lstrip())
    return lead if text and written[lead:].startswith(text) else None


def spans_of(
    tokens: Sequence[TokenLogprob], lead: int
) -> list[tuple[TokenLogprob, tuple[int, int]]]:
    """Return each token with its characters; one that is a part of a character has that one.

    The first `lead` characters of the tokens do not count.
    """
    spans = []
    written, start = b"", -lead
    for token in tokens:
        written += token.token_bytes
        # With a character that is not whole yet, and without it.
        spans.append((token, (start, len(written.decode("utf-8", "replace")) - lead)))
        start = len(written.decode("utf-8", "ignore")) - lead
    return spans


def _overlap(word: re.Match[str], start: int, end: int) -> bool:
    return start < word.end() and word.start() < end


def _word(found: re.Match[str], tokens: Sequence[TokenLogprob]) -> SureWord:
    others = [each for each in tokens[0].top if each.token_bytes != tokens[0].token_bytes]
    return SureWord(
        found[0],
        found.start(),
        found.end(),
        math.exp(sum(each.logprob for each in tokens)),
        tuple(
            Alternative(each.token.strip(), math.exp(each.logprob))
            for each in others[:_ALTERNATIVES]
        ),
    )
