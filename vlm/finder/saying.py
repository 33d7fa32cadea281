"""A text that no model made, as the events of an answer: words within a request's limits."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Final

from vlm.results import By, FinishReason, Result, Stats, TokenChunk
from vlm.types import Request

_WORD: Final = re.compile(r"\s*\S+|\s+")
_NO_COST: Final = Stats(
    ttft_s=0.0,
    tokens_per_s=0.0,
    image_tokens=0,
    prompt_tokens=0,
    tokens=0,
    drafted=0,
    accepted=0,
    queued_s=0.0,
    total_s=0.0,
)


class Saying:
    """The answer to `request`; a word counts as a token. Its clock starts when it is made."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._coming = ""
        self._words: list[str] = []
        self._is_stopped = False
        self._began_s = time.perf_counter()
        self._first_word_s = self._began_s

    @property
    def has_begun(self) -> bool:
        """Return whether a word was given, or a stop text has ended the answer before."""
        return bool(self._words) or self._is_stopped

    @property
    def finish_reason(self) -> FinishReason | None:
        """Return why the answer is over; None if more text may come."""
        if self._is_stopped:
            return "stop"
        return "length" if self._coming else None

    def add(self, text: str) -> list[TokenChunk]:
        """Append `text`, which ends with a word; return the new words, up to the limits."""
        if self.finish_reason is not None:
            return []
        said = "".join(self._words)
        whole = said + text
        ends = [end for stop in self._request.answer_task.stop if (end := whole.find(stop)) >= 0]
        self._is_stopped = bool(ends)
        room = self._request.answer_task.max_tokens - len(self._words)
        words = _WORD.findall(whole[len(said) : min(ends, default=None)])
        self._coming = "".join(words[room:])
        if words and not self._words:
            self._first_word_s = time.perf_counter()
        self._words += words[:room]
        return list(map(TokenChunk, words[:room]))

    def result(self, reason: FinishReason, by: By, stats: Stats = _NO_COST) -> Result:
        """Return the result; `stats` have what a model has cost in vain."""
        total_s, count = time.perf_counter() - self._began_s, len(self._words)
        stats = replace(
            stats,
            ttft_s=self._first_word_s - self._began_s,
            tokens_per_s=count / total_s,
            tokens=count,
            drafted=0,
            accepted=0,
            total_s=total_s,
            by=by,
        )
        return Result("".join(self._words), reason, stats)
