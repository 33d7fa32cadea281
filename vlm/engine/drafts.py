"""Greedy decoding with drafts: tokens that are guessed, then checked many in one pass.

Speculative decoding (Leviathan et al., 2023, https://arxiv.org/abs/2211.17192) whose draft costs
nothing: the last answer to the same question, since what a camera sees changes little from one
frame to the next. Where it fails midway, its remainder is tried again from where the two meet, as
prompt lookup does (Saxena, 2023, https://github.com/apoorvumang/prompt-lookup-decoding). A guess
only counts where greedy decoding chooses it too, so the text is the same with any draft or none.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, NamedTuple

from vlm.engine.passes import Decode, Steps, Verify
from vlm.engine.sampling import Token
from vlm.runtimes.base import Runtime, State

# Where an answer has left its draft, guesses begin with as few, and double while they are right: on
# a CPU a wrong one costs about half of what decoding its tokens would.
SHORT_GUESS_TOKENS: Final = 4
MAX_GUESS_TOKENS: Final = 16
WHOLE: Final = sys.maxsize
MAX_ANSWERS: Final = 64


@dataclass
class DraftCounts:
    """How many tokens were guessed and how many of them greedy decoding chose as well."""

    drafted: int = 0
    accepted: int = 0

    def add(self, guess: Sequence[int], choices: Sequence[int]) -> int:
        """Count one checked guess; how many of its first tokens were right.

        `choices` are those after the token before the guess and after each of its own.
        """
        pairs = zip(guess, choices, strict=False)
        right = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self.drafted += len(guess)
        self.accepted += right
        return right


class Draft:
    """An older answer, of which the part not yet passed is guessed where a new one meets it."""

    def __init__(
        self, ids: Sequence[int], takes: Callable[[int], bool], trusted: int = WHOLE
    ) -> None:
        """`ids` are used up to the first one that `takes` refuses: no answer goes on after it.

        `trusted` is how many of them are worth guessing at once.
        """
        self._ids = list(takewhile(takes, ids))
        self._trusted = trusted
        self._passed = 0
        self._misses = 0
        self._stride = SHORT_GUESS_TOKENS
        self._first_right: int | None = None

    def start(self, most: int) -> list[int]:
        """The guess before anything is known, `most` tokens at most."""
        return self._ids[: max(0, min(most, self._trusted))]

    def note(self, right: int, guessed: int) -> None:
        """The last guess was right for `right` of its `guessed` tokens."""
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
        """How many tokens of the new answer are worth guessing at once for the one after it.

        What moves goes on moving: a little more than was right this time. All, where all was.
        """
        right = self._first_right
        return WHOLE if right is None or right == WHOLE else right + SHORT_GUESS_TOKENS

    def meet(self, answer: Sequence[int], most: int) -> list[int]:
        """What may follow `answer`, as its last tokens are met again further on; often nothing.

        Each guess that was wholly wrong asks for one token more to be met.
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
    """The ids of an answer, and how many of them are worth guessing at once for the next."""

    ids: Sequence[int] = ()
    trusted: int = WHOLE


class LastAnswers:
    """The newest answer to each of the questions that were asked last, at most MAX_ANSWERS."""

    def __init__(self) -> None:
        self._answers: OrderedDict[Hashable, LastAnswer] = OrderedDict()

    def get(self, question: Hashable) -> LastAnswer:
        """The last answer to `question`, without ids where there was none."""
        return self._answers.get(question, LastAnswer())

    def put(self, question: Hashable, answer: LastAnswer) -> None:
        """Remember `answer`; of too many questions, that asked longest ago is forgotten."""
        self._answers[question] = answer
        self._answers.move_to_end(question)
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)


def greedy_steps(
    runtime: Runtime[State],
    state: State,
    choices: Sequence[int],
    draft: Draft,
    guess: Sequence[int],
    limit: int,
    counts: DraftCounts,
    is_over: Callable[[int], bool],
    answer: list[int],
) -> Steps[Token]:
    """The tokens of greedy decoding until `answer` has `limit` of them, each added to it.

    `state` holds the prompt, `answer` and `guess`, the start of `draft`; `choices` are those after
    `answer` and after each token of `guess`. `is_over(token_id)` is asked before each further pass.
    The last id is never fed to `state`.
    """
    while True:
        right = counts.add(guess, choices)
        draft.note(right, len(guess))
        if right < len(guess):
            runtime.truncate(state, state.length - len(guess) + right)
        new = choices[: right + 1]
        answer += new
        yield from map(Token, new)
        left = limit - len(answer)
        if left < 1 or is_over(answer[-1]):
            return
        guess = draft.meet(answer, left - 1)
        if guess:
            choices = yield Verify(state, [answer[-1], *guess], len(guess) + 1)
        else:
            choices = [(yield Decode(state, answer[-1]))]
