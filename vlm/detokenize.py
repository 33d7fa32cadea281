"""Token ids to text as they come, never showing half a character."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

# What a decoder shows in place of bytes that are not a whole character (yet).
_REPLACEMENT: Final = "\ufffd"


class Detokenizer:
    """Turns a growing list of ids into chunks of text that only ever append.

    All chunks together are `decode` of all ids without the whitespace that leads it; a character
    that the last id leaves unfinished is left out. Decoding starts a few ids back, since what an
    id reads as may depend on the one before it (a leading space, the rest of a character).
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        """`decode` is the tokenizer's own, without special tokens and without any clean-up."""
        self._decode = decode
        self._ids: list[int] = []
        self._context_start = 0
        self._shown_end = 0
        self._begun = False

    def add(self, token_id: int) -> str:
        """The text that became complete with `token_id`; empty where none did."""
        self._ids.append(token_id)
        shown, known = self._window()
        if len(known) <= len(shown) or known.endswith(_REPLACEMENT):
            return ""
        self._context_start = self._shown_end
        self._shown_end = len(self._ids)
        return self._without_lead(known[len(shown) :])

    def finish(self) -> str:
        """What was held back and is text after all; empty in nearly every case."""
        shown, known = self._window()
        return self._without_lead(known[len(shown) :].rstrip(_REPLACEMENT))

    def _window(self) -> tuple[str, str]:
        shown = self._decode(self._ids[self._context_start : self._shown_end])
        return shown, self._decode(self._ids[self._context_start :])

    def _without_lead(self, text: str) -> str:
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return text
