"""Drafts for greedy decoding: tokens that are guessed, then checked many in one pass.

Speculative decoding (Leviathan et al., 2023, https://arxiv.org/abs/2211.17192) with a draft that
costs nothing: the last answer to the same question, since a camera's view changes little from one
frame to the next. If the draft fails midway, its remainder is tried again where the two answers
meet, as prompt lookup does (Saxena, 2023, https://github.com/apoorvumang/prompt-lookup-decoding).
A guessed token counts only if it is the argmax too, so no draft changes the text.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, NamedTuple

# After an answer has left its draft, guesses begin this short and double while they are right: on a
# CPU a wrong guess costs about half of what decoding its tokens would.
SHORT_GUESS_TOKENS: Final = 4
MAX_GUESS_TOKENS: Final = 16
WHOLE: Final = sys.maxsize
MAX_ANSWERS: Final = 64


@dataclass
class DraftCounts:
    """Counts of one answer."""

    drafted: int = 0
    """Guessed tokens."""
    accepted: int = 0
    """Guessed tokens that were the argmax."""

    def add(self, guess: Sequence[int], next_ids: Sequence[int]) -> int:
        """Count one checked guess; return how many of its first tokens were right.

        `next_ids` are the argmax after the token before the guess and after each guessed token.
        """
        pairs = zip(guess, next_ids, strict=False)
        right = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self.drafted += len(guess)
        self.accepted += right
        return right


class Draft:
    """An older answer. Its part that is not passed yet is guessed where a new answer meets it."""

    def __init__(
        self, ids: Sequence[int], takes: Callable[[int], bool], trusted: int = WHOLE
    ) -> None:
        """Use `ids` up to the first one that `takes` rejects: no answer continues after it.

        `trusted` is how many of them are worth guessing at once.
        """
        self._ids = list(takewhile(takes, ids))
        self._trusted = trusted
        self._passed = 0
        self._misses = 0
        self._stride = SHORT_GUESS_TOKENS
        self._first_right: int | None = None

    def start(self, most: int) -> list[int]:
        """Return the first guess, `most` tokens at most."""
        return self._ids[: max(0, min(most, self._trusted))]

    def note(self, right: int, guessed: int) -> None:
        """Record that `right` of the last `guessed` tokens were right."""
        self._passed += right
        if self._first_right is None:
            self._first_right = WHOLE if right == guessed else right
        elif guessed:
            is_right = right == guessed
            self._stride = (
                min(2 * self._stride, MAX_GUESS_TOKENS) if is_right else SHORT_GUESS_TOKENS
            )
        if guessed and not right:
            self._misses += 1

    def trusted_next(self) -> int:
        """Return how many tokens of the new answer are worth guessing at once for the next one.

        Motion continues: a little more than was right this time, or all if all was right.
        """
        right = self._first_right
        return WHOLE if right is None or right == WHOLE else right + SHORT_GUESS_TOKENS

    def meet(self, answer: Sequence[int], most: int) -> list[int]:
        """Return a guess of what follows `answer`, empty if its last tokens are not found.

        Each guess that was wholly wrong raises the number of tokens that must match by one.
        """
        alike = 1 + self._misses
        tail = list(answer[-alike:])
        if len(tail) < alike or most < 1:
            return []
        for end in range(max(self._passed + 1, alike), len(self._ids)):
            if self._ids[end - alike : end] == tail:
                self._passed = end
                return self._ids[end : end + min(most, self._stride)]
        return []


class LastAnswer(NamedTuple):
    """An answer to draft from."""

    ids: Sequence[int] = ()
    trusted: int = WHOLE
    """Number of ids that are worth guessing at once."""


class LastAnswers:
    """The last answer to each of the newest MAX_ANSWERS questions."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, LastAnswer] = OrderedDict()

    def get(self, question: Hashable) -> LastAnswer:
        """Return the last answer to `question`, empty if none."""
        return self._answers.get(question, LastAnswer())

    def put(self, question: Hashable, answer: LastAnswer) -> None:
        """Keep `answer`; evict the oldest question beyond MAX_ANSWERS."""
        self._answers[question] = answer
        self._answers.move_to_end(question)
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
