"""Tokens to text: chunks as they become complete, up to a stop text or a loop, then the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from vlm.engine.drafts import DraftCounts
from vlm.engine.sampling import Token
from vlm.loops import LoopGuard
from vlm.processing.tokenizer import Tokenizer
from vlm.results import FinishReason, Kept, Result, Stats, TokenChunk, TokenLogprob


class AnswerText:
    """The text of one answer; its clock starts when it is made."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_ids: frozenset[int],
        stop_texts: Sequence[str],
        limit: int,
        loops: LoopGuard | None = None,
        keeps_lead: bool = False,
    ) -> None:
        """`limit` is the maximum number of tokens; `stop_ids` end the answer and are not shown.

        `loops` ends an answer that repeats itself. `keeps_lead`: white space at the start is shown.
        """
        self._tokenizer = tokenizer
        self._stop_ids = stop_ids
        self._stop_texts = stop_texts
        self._limit = limit
        self._loops = loops
        self._detokenizer = Detokenizer(tokenizer.decode, keeps_lead)
        self._held = ""
        self._shown: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._tokens = 0
        self._finish_reason: FinishReason | None = None
        self._is_cut = False
        self._started = time.perf_counter()
        self._first_token = self._started

    @property
    def is_cut(self) -> bool:
        """Return whether a stop text or a loop has ended the answer."""
        return self._is_cut

    def add(self, token: Token) -> list[TokenChunk]:
        """Take the next token; return the text that became complete with it, if any."""
        if self._first_token == self._started:
            self._first_token = time.perf_counter()
        if token.id in self._stop_ids:
            self._finish_reason = "stop"
            return self._last_chunks()
        self._tokens += 1
        if token.logprob is not None:
            top = tuple(self._token_logprob(*each) for each in token.top)
            self._logprobs.append(self._token_logprob(token.id, token.logprob, top))
        chunks = self._chunks(self._detokenizer.add(token.id), holds=True)
        if self._tokens == self._limit and not self._is_cut:
            self._finish_reason = "length"
            chunks += self._last_chunks()
        return chunks

    def finish(
        self,
        is_cancelled: bool,
        prompt_tokens: int,
        image_tokens: int,
        patches: int,
        kept: Kept | None,
        drafts: DraftCounts,
    ) -> list[TokenChunk | Result]:
        """Return the text that was held back, if any, and the result. No token comes after it."""
        reason = self._finish_reason or ("cancelled" if is_cancelled else "stop")
        last = [] if self._finish_reason else self._last_chunks()
        total_s = time.perf_counter() - self._started
        stats = Stats(
            ttft_s=self._first_token - self._started,
            tokens_per_s=self._tokens / total_s,
            image_tokens=image_tokens,
            prompt_tokens=prompt_tokens,
            tokens=self._tokens,
            drafted=drafts.drafted,
            accepted=drafts.accepted,
            queued_s=0.0,
            total_s=total_s,
            patches=patches,
            kept=kept,
        )
        return [*last, Result("".join(self._shown), reason, stats)]

    def _last_chunks(self) -> list[TokenChunk]:
        return self._chunks(self._detokenizer.finish(), holds=False)

    def _chunks(self, text: str, *, holds: bool) -> list[TokenChunk]:
        """Return held text and `text` up to a cut; with `holds`, hold what may be cut off."""
        text = self._held + text
        ends = [end for stop in self._stop_texts if (end := text.find(stop)) >= 0]
        if ends:
            text, self._is_cut, self._finish_reason = text[: min(ends)], True, "stop"
        keep = self._possible_stop(text) if holds and not ends else 0
        text, self._held = text[: len(text) - keep], text[len(text) - keep :]
        if self._loops is not None:
            text = self._loops.add(text)
            if ends or not holds:
                text += self._loops.finish()
            if self._loops.has_loop:
                self._is_cut, self._finish_reason = True, "loop"
        if not text:
            return []
        self._shown.append(text)
        logprobs, self._logprobs = tuple(self._logprobs), []
        return [TokenChunk(text, logprobs)]

    def _possible_stop(self, text: str) -> int:
        """Return how many of the last characters of `text` may be the start of a stop text."""
        longest = max(map(len, self._stop_texts), default=0) - 1
        for count in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-count:]) for stop in self._stop_texts):
                return count
        return 0

    def _token_logprob(
        self, token_id: int, logprob: float, top: tuple[TokenLogprob, ...] = ()
    ) -> TokenLogprob:
        token_bytes = self._tokenizer.bytes_of(token_id)
        return TokenLogprob(token_bytes.decode("utf-8", "replace"), token_bytes, logprob, top)


# A decoder writes it for bytes that are not a whole character (yet).
_REPLACEMENT: Final = "\ufffd"


class Detokenizer:
    """Turns ids into chunks of text as they come, never half a character.

    All chunks together are `decode` of all ids without leading white space; a character that the
    last id leaves unfinished is left out. Decoding starts a few ids back, since the text of an id
    may depend on the one before it (a leading space, the rest of a character).
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], keeps_lead: bool = False) -> None:
        """`decode` is the tokenizer's own, without special tokens and without clean-up.

        `keeps_lead`: leading white space belongs to the text, which continues another one.
        """
        self._decode = decode
        self._ids: list[int] = []
        self._context_start = 0
        self._shown_end = 0
        self._begun = keeps_lead

    def add(self, token_id: int) -> str:
        """Return the text that became complete with `token_id`, empty if none did."""
        self._ids.append(token_id)
        shown, known = self._window()
        if len(known) <= len(shown) or known.endswith(_REPLACEMENT):
            return ""
        self._context_start = self._shown_end
        self._shown_end = len(self._ids)
        return self._without_lead(known[len(shown) :])

    def finish(self) -> str:
        """Return text that was held back and is complete after all; mostly empty."""
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
