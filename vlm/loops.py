"""Find where an answer repeats itself: a sentence, or six words, for the third time.

Words are compared by their letters and digits, without case. They end at white space and at marks
that are not ASCII, so that "don't", "3.5" and an address are one word. A sentence ends at its mark
if white space follows, and at a mark of Chinese or Japanese in any case. A single word is no
sentence ("Yes.", "Mr."), unless it has four characters and such a mark. Repetitions do not overlap,
so that one word without end is a loop from its 18th time on. Lists and counting seldom repeat six
words.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from vlm.types import AnswerTask

WORDS: Final = 6
TIMES: Final = 3

# These end a sentence if white space follows, which it does not in "3.5" and "e.g.".
_MARKS: Final = frozenset(".!?\u2026\u061f\u06d4\u0964\u0589\u1362")
# These end one in any case: of scripts without spaces.
_WIDE_MARKS: Final = frozenset("\u3002\uff01\uff1f\uff61")
_WIDE_SENTENCE_CHARS: Final = 4
_APOSTROPHE: Final = "\u2019"


def loop_guard(task: AnswerTask) -> LoopGuard | None:
    """Return a guard for an answer to `task`; None without the option, or if it has a form."""
    return LoopGuard() if task.stop_loops and not task.has_form else None


class LoopGuard:
    """Lets the text of one answer pass up to where something would come for the third time.

    What passes in all does not depend on the pieces in which the text arrives. Nothing is held back
    until something has come twice. The time is linear in the length of the text.
    """

    def __init__(self) -> None:
        self._held = ""
        # Number of characters that were taken, and of those that were returned.
        self._taken = 0
        self._returned = 0
        self._cut: int | None = None
        # The end of the last word with the marks that belong to it: a cut before the next one.
        self._end = 0
        self._is_behind_space = True
        self._letters: list[str] = []
        # The whole words so far, and the cut before each, and before the one that is not whole yet.
        self._words: list[str] = []
        self._cuts: list[int] = []
        # Index of the sentence's first word, and whether a mark may have ended it.
        self._sentence = 0
        self._has_mark = False
        # Sentences and runs of six words: how often each came, and the index of its last word then.
        self._seen: dict[tuple[str, ...], tuple[int, int]] = {}
        # Beginnings of those that came twice, each with the index of the last word then.
        self._openings: dict[tuple[str, ...], int] = {}

    @property
    def has_loop(self) -> bool:
        """Return whether the answer is cut. Text that comes later is dropped."""
        return self._cut is not None

    def add(self, text: str) -> str:
        """Take more text; return what of the text so far may be shown now."""
        self._held += text
        for char in text:
            if self._cut is not None:
                break
            self._take(char)
            self._taken += 1
        return self._return(self._hold_from() if self._cut is None else self._cut)

    def finish(self) -> str:
        """Return the text that was held back, up to a cut. No text comes after it."""
        if self._cut is None:
            self._take("\n")
        return self._return(self._taken if self._cut is None else self._cut)

    def _return(self, end: int) -> str:
        count = end - self._returned
        text, self._held = self._held[:count], self._held[count:]
        self._returned = end
        return text

    def _take(self, char: str) -> None:
        category = unicodedata.category(char)
        if category[0] in "LN" or (category[0] == "M" and self._letters):
            if not self._letters:
                self._cuts.append(self._end)
            self._letters.append(char)
            self._is_behind_space = self._has_mark = False
        elif char.isspace():
            self._end_word()
            if self._has_mark:
                self._end_sentence()
            self._is_behind_space = True
        else:
            if not (char.isascii() or char == _APOSTROPHE or category == "Cf"):
                self._end_word()
            self._take_mark(char)
        if not self._is_behind_space:
            self._end = self._taken + 1

    def _take_mark(self, char: str) -> None:
        if char in _WIDE_MARKS:
            self._end_sentence(is_wide=True)
        elif char in _MARKS:
            self._has_mark = True
        else:
            return
        # A sentence's own mark belongs to it even behind a space, as in French.
        self._is_behind_space = False

    def _end_word(self) -> None:
        if not self._letters:
            return
        self._words.append("".join(self._letters).casefold())
        self._letters = []
        if len(self._words) >= WORDS:
            self._count(len(self._words) - WORDS)

    def _end_sentence(self, is_wide: bool = False) -> None:
        self._has_mark = False
        first, self._sentence = self._sentence, len(self._words)
        count = len(self._words) - first
        is_long = is_wide and count == 1 and len(self._words[first]) >= _WIDE_SENTENCE_CHARS
        # Six words count wherever they are.
        if 1 < count < WORDS or is_long:
            self._count(first)

    def _count(self, first: int) -> None:
        """Count the words from index `first` on, unless they overlap with their last time."""
        unit, last = tuple(self._words[first:]), len(self._words) - 1
        times, earlier = self._seen.get(unit, (0, -1))
        if self._cut is not None or first <= earlier:
            return
        self._seen[unit] = times + 1, last
        if times + 1 == TIMES:
            self._cut = self._cuts[first]
        elif times + 1 == TIMES - 1:
            for length in range(1, min(len(unit) + 1, WORDS)):
                self._openings.setdefault(unit[:length], last)

    def _hold_from(self) -> int:
        """Return where something may have begun that came twice before."""
        if not self._openings:
            return self._taken
        whole = len(self._words)
        for first in range(max(0, whole - WORDS + 1), whole):
            if self._openings.get(tuple(self._words[first:]), whole) < first:
                return self._cuts[first]
        return self._cuts[-1] if self._letters else self._end
