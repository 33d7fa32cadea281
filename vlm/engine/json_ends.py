"""End what a small model repeats without end in JSON: a text or a number, and a list or an object.

The answer stays JSON of its form: of the tokens that the form allows, only those that close are
left. Where the form allows none of them, the repetition goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from vlm.engine.sampling import FloatLogits

# So many tokens of one text or number, of which so few differ, are no words and no measurement.
SCALAR_TOKENS: Final = 32
SCALAR_KINDS: Final = 6
# After so many of them were closed, the model is lost: each list and object is closed, too.
LOST_AFTER: Final = 3
# A list or an object repeats itself if its newest so many tokens are so many times the same ones.
LIST_TOKENS: Final = 64
LIST_TIMES: Final = 8
_LIST_MAX_PERIOD: Final = 64

_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_IN_NUMBERS: Final = frozenset(b"0123456789+-.eE")
_BLANKS: Final = b" \t\r\n"

Place = Literal["text", "number", "between"]
Ids = npt.NDArray[np.intp]


class ClosingTokens:
    """The tokens of a vocabulary that close something in JSON."""

    def __init__(self, bytes_of: Callable[[int], bytes], count: int) -> None:
        """`bytes_of` returns the bytes of each of `count` tokens."""
        texts = [bytes_of(token_id) for token_id in range(count)]

        def beginning(*starts: bytes) -> Ids:
            return np.array([n for n, text in enumerate(texts) if text.startswith(starts)], np.intp)

        self.bytes_of = bytes_of
        self.of_texts = beginning(b'"')
        self.of_numbers = beginning(b",", b"]", b"}")
        bare = np.array([n for n, text in enumerate(texts) if text == b'"'], np.intp)
        self.of_lists: dict[Place, Ids] = {
            "text": np.concatenate((beginning(b'"]', b'"}'), bare)),
            "number": beginning(b"]", b"}"),
            "between": beginning(b"]", b"}"),
        }


class RepetitionEnd:
    """A LogitsProcessor that ends repetitions in one answer in JSON; comes after its form."""

    def __init__(self, closing: ClosingTokens, begun: bytes = b"") -> None:
        """`begun` is the beginning of the answer that was given."""
        self._closing = closing
        self._place: Place = "between"
        self._is_escaped = False
        # Index of the first token that is within the text or the number.
        self._scalar_start = 0
        self._read_ids = 0
        self._ends_list = False
        # Number of texts and numbers that were closed here.
        self._closed = 0
        self._read(begun, 0)

    def __call__(self, ids: Sequence[int], logits: FloatLogits) -> FloatLogits:
        for index in range(self._read_ids, len(ids)):
            self._read(self._closing.bytes_of(ids[index]), index + 1)
        self._read_ids = len(ids)
        if self._is_escaped:
            return logits
        self._ends_list = self._ends_list or _repeats(ids)
        is_lost = self._closed >= LOST_AFTER
        if self._ends_list or (is_lost and self._place == "between"):
            return _only(self._closing.of_lists[self._place], logits)
        if not self._repeats_in_scalar(ids):
            return logits
        is_text = self._place == "text"
        of_scalars = self._closing.of_texts if is_text else self._closing.of_numbers
        closed = _only(self._closing.of_lists[self._place] if is_lost else of_scalars, logits)
        self._closed += closed is not logits
        return closed

    def is_over(self, ids: Sequence[int]) -> bool:
        return False

    def _read(self, text: bytes, next_index: int) -> None:
        """Follow the place in the JSON through the bytes of one token."""
        for byte in text:
            if self._place == "text":
                if self._is_escaped:
                    self._is_escaped = False
                elif byte == _BACKSLASH:
                    self._is_escaped = True
                elif byte == _QUOTE:
                    self._place = "between"
            elif byte == _QUOTE:
                self._place, self._scalar_start = "text", next_index
            elif byte in _IN_NUMBERS and self._place == "number":
                pass
            elif byte in b"-0123456789":
                self._place, self._scalar_start = "number", next_index
            else:
                self._place = "between"
                if byte in b"]}":
                    self._ends_list = False

    def _repeats_in_scalar(self, ids: Sequence[int]) -> bool:
        if self._place == "between":
            return False
        newest = ids[max(self._scalar_start, len(ids) - SCALAR_TOKENS) :]
        return len(newest) == SCALAR_TOKENS and len(set(newest)) <= SCALAR_KINDS


def _repeats(ids: Sequence[int]) -> bool:
    """Return whether the newest tokens are one run of several tokens again and again."""
    for period in range(2, _LIST_MAX_PERIOD + 1):
        count = max(LIST_TOKENS, LIST_TIMES * period)
        if count > len(ids):
            return False
        # The first comparison spares most copies.
        start = len(ids) - count
        if ids[start] == ids[start + period] and ids[start:-period] == ids[start + period :]:
            return True
    return False


def _only(wanted: Ids, logits: FloatLogits) -> FloatLogits:
    """Return `logits` of `wanted` alone, or all if none of those is allowed."""
    allowed = wanted[np.isfinite(logits[wanted])]
    if not len(allowed):
        return logits
    masked = np.full_like(logits, -np.inf)
    masked[allowed] = logits[allowed]
    return masked
