"""A streamed answer of OpenAI's chat API, read event by event and complete only if it says so.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from vlm.loops import loop_guard
from vlm.remote.answer_text import AnswerText
from vlm.remote.chunks import Piece, first_choice, parse_object, read_choice, valid_text
from vlm.remote.failures import UpstreamFailure, error_message, fail, quoted
from vlm.remote.logprobs import read_logprobs
from vlm.results import FinishReason, Stats, TokenChunk, TokenLogprob
from vlm.types import Request

Stage = Literal["waiting", "thinking", "answering", "complete"]

_DONE: Final = "[DONE]"
# No token has more characters; an answer beyond that ignores its token limit.
_TOKEN_MAX_CHARS: Final = 256
# Events without text: roles, usage, the progress that some servers report.
_EVENTS_PER_TOKEN, _SPARE_EVENTS = 8, 1024
# Comments included. Twenty alternatives of a token take a few KiB.
_BYTES_PER_STEP, _SPARE_BYTES = 16 * 2**10, 2 * 2**20
_MAX_THOUGHTS: Final = 16_384
_MAX_COUNT: Final = 10**9
_MAX_REFUSAL_CHARS: Final = 1024


class UpstreamAnswer:
    """One answer of a server. Its methods raise UpstreamFailure if the answer is invalid."""

    def __init__(
        self,
        request: Request,
        key: str | None,
        *,
        is_thinking: bool = False,
        keeps_limit: bool = False,
    ) -> None:
        """`key` is removed from the server's error messages.

        `is_thinking`: the answer begins with thoughts, without a mark before them. `keeps_limit`:
        the server does not know the token limit, so that the answer is cut here.
        """
        self._request = request
        self._key = key
        self._keeps_limit = keeps_limit
        self._filter = AnswerText(
            request.answer_task.stop,
            request.answer_task.has_form,
            is_thinking,
            continues=request.answer_task.prompt_end == "final_text",
        )
        self._loops = loop_guard(request.answer_task)
        self._texts: list[str] = []
        # The first half of a character that two events share.
        self._half = ""
        self._chars = 0
        self._events = 0
        self._text_events = 0
        self._thoughts = 0
        self._bytes = 0
        self._logprobs: list[TokenLogprob] = []
        self._finish_reason: FinishReason | None = None
        # Some servers send a reason with each text. Whether no text came beside the newest reason,
        # whether text came without one, and whether text came after one.
        self._is_reason_alone = self._has_plain_text = self._is_reason_doubtful = False
        # Whether the newest event has an empty reason and no text, and whether a text had one.
        self._is_reason_empty = self._has_empty_reasons = False
        self._refusal = ""
        self._calls_tool = False
        self._usage: dict[str, Any] = {}
        self._is_done = self._has_ended = False
        self.unknown_reason: str | None = None
        """A finish reason that is not known, perhaps an empty one."""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    @property
    def stage(self) -> Stage:
        """ "waiting" before the first text or thought, "complete" once the server ended it."""
        if self.is_complete:
            return "complete"
        if self._texts:
            return "answering"
        return "thinking" if self._thoughts else "waiting"

    @property
    def steps(self) -> int:
        """The number of events so far that had text or a thought."""
        return self._text_events + self._thoughts

    @property
    def is_complete(self) -> bool:
        """Whether the server ended the answer, by `[DONE]`, a finish reason or both."""
        is_sure = self._is_reason_alone or self._has_plain_text
        return self._is_done or self._has_ended or (is_sure and self.may_be_over)

    @property
    def may_be_over(self) -> bool:
        """Return whether a finish reason came, and no text after it."""
        return self._finish_reason is not None and not self._is_reason_doubtful

    @property
    def is_cut(self) -> bool:
        """Return whether the text was cut at its end here; the rest of the stream is not needed."""
        return self.has_loop or self._filter.is_over or self._is_at_limit

    @property
    def has_loop(self) -> bool:
        """Return whether the text was cut at a loop."""
        return self._loops is not None and self._loops.has_loop

    @property
    def is_done(self) -> bool:
        """Return whether `[DONE]` has come; nothing follows it."""
        return self._is_done

    @property
    def is_whole(self) -> bool:
        """Return whether the model ended its text, by no limit and no cut."""
        return not self.has_loop and self.finish_reason() == "stop"

    @property
    def has_thoughts(self) -> bool:
        """Return whether the model thought before its answer."""
        return bool(self._thoughts or self._filter.had_thoughts or self._hidden_thoughts())

    @property
    def has_only_thoughts(self) -> bool:
        """Return whether the model thought and answered nothing; for an answer that has ended."""
        return not self._texts and self.has_thoughts

    @property
    def guessed_wrong(self) -> bool:
        """Return whether the answer began without the thoughts that were expected."""
        return self._filter.guessed_wrong

    @property
    def has_shown_thoughts(self) -> bool:
        """Return whether the text that was shown are thoughts; only their end had a mark."""
        return self._filter.has_shown_thoughts

    @property
    def _is_at_limit(self) -> bool:
        return self._keeps_limit and self._text_events >= self._request.answer_task.max_tokens

    def count(self, size: int) -> None:
        """Count `size` bytes of the stream, whatever they hold."""
        self._bytes += size
        if self._bytes > _BYTES_PER_STEP * self.steps + _SPARE_BYTES:
            fail("sends too many bytes without text.")

    def add(self, data: str, event: str = "message") -> TokenChunk | None:
        """Read the data of one event of the type `event`; return its text, if any."""
        if self._is_done:
            return None
        self._events += 1
        limit = _EVENTS_PER_TOKEN * self._request.answer_task.max_tokens + _SPARE_EVENTS
        if self._events - self._thoughts > limit or self._thoughts > _MAX_THOUGHTS:
            fail("sends more events than the answer has tokens.")
        if data.strip().upper() == _DONE:
            self._is_done = True
            return None
        choice = self._choice(parse_object(data), event)
        return None if choice is None else self._add(read_choice(choice, not self._texts))

    def end(self) -> None:
        """Take the end of the stream: the answer has ended if a finish reason came before.

        An empty one counts if it came last, and not with the texts.
        """
        if self._finish_reason is None and self._is_reason_empty and not self._has_empty_reasons:
            self._finish_reason, self.unknown_reason = "stop", ""
        self._has_ended = self._has_ended or self._finish_reason is not None

    def rest(self) -> TokenChunk | None:
        """Return the text that was held back, if any. No event comes after it."""
        text = self._filter.add(valid_text(self._half))
        text += self._filter.finish(is_whole=self._finish_reason != "length")
        if self._loops is not None:
            text = self._loops.add(text) + self._loops.finish()
        return self._shown(text)

    def add_whole(self, data: str) -> TokenChunk | None:
        """Read a whole answer in one JSON object, which some servers send in place of events."""
        whole = parse_object(data)
        choice = self._choice(whole)
        if choice is None or not isinstance(choice.get("message", choice.get("delta")), dict):
            reason = quoted(error_message(whole), self._key)
            fail(f"sends an answer that is not in the form of OpenAI's API{reason}.")
        chunk = self._add(read_choice(choice, takes_message=True))
        if "message" in choice:
            self._is_done = True
        else:
            # One event of a stream.
            self.end()
        return chunk

    def finish_reason(self) -> FinishReason:
        """Return why the answer ended; raise UpstreamFailure if it is not complete, or empty."""
        if not (self.is_complete or self.is_cut):
            fail("ended its stream in the middle of an answer.")
        if self.has_shown_thoughts:
            fail("answered with its model's thoughts. They are left out from now on: ask again.")
        # A stop text may come first.
        if self.has_only_thoughts or not (self._texts or self._request.answer_task.stop):
            fail(self._words_of_nothing())
        if self.has_loop:
            return "loop"
        if self._filter.is_over:
            return "stop"
        if self._is_at_limit:
            return "length"
        if self._finish_reason is not None and self.unknown_reason is None:
            return self._finish_reason
        return "length" if self._tokens() >= self._request.answer_task.max_tokens else "stop"

    def stats(self, ttft_s: float, total_s: float) -> Stats:
        """Return the cost; a server that reports no usage is counted by its events with text."""
        details = self._usage.get("prompt_tokens_details")
        tokens = self._tokens()
        return Stats(
            ttft_s=ttft_s,
            tokens_per_s=tokens / total_s if total_s > 0 else 0.0,
            image_tokens=_count(details.get("image_tokens")) if isinstance(details, dict) else 0,
            prompt_tokens=_count(self._usage.get("prompt_tokens")),
            tokens=tokens,
            drafted=0,
            accepted=0,
            queued_s=0.0,
            total_s=total_s,
        )

    def _tokens(self) -> int:
        return _count(self._usage.get("completion_tokens")) or self._text_events

    def _hidden_thoughts(self) -> int:
        details = self._usage.get("completion_tokens_details")
        return _count(details.get("reasoning_tokens")) if isinstance(details, dict) else 0

    def _words_of_nothing(self) -> str:
        if self._refusal:
            return f"answered that its model refuses{quoted(self._refusal, self._key)}."
        if self.has_only_thoughts and self._finish_reason != "length":
            return (
                "spent its whole answer on thinking. Use a model that does not think; if this one "
                "does not, switch its server's parser of thoughts off."
            )
        if self.has_only_thoughts:
            return (
                "spent its whole answer on thinking. Raise --max-tokens (in a request: "
                "max_tokens), or use a model that does not think."
            )
        if self._calls_tool:
            return "called a tool and answered nothing."
        return "ended its answer without a word."

    def _choice(self, chunk: dict[str, Any], event: str = "message") -> dict[str, Any] | None:
        """Return the first choice in `chunk`, after its error and usage are read."""
        # Some servers send an empty error beside each text.
        if chunk.get("error") or chunk.get("object") == "error" or event == "error":
            reason = quoted(error_message(chunk), self._key)
            # Some servers refuse a field in the stream.
            body = json.dumps(chunk).encode()
            raise UpstreamFailure("broken", f"ended the answer with an error{reason}.", body=body)
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage = usage
        return first_choice(chunk)

    def _add(self, piece: Piece) -> TokenChunk | None:
        self._note_reason(piece)
        task = self._request.answer_task
        if task.top_logprobs is not None or task.sure:
            self._logprobs += read_logprobs(piece.logprobs)
        self._refusal = (self._refusal + piece.refusal)[:_MAX_REFUSAL_CHARS]
        self._calls_tool = self._calls_tool or piece.calls_tool
        if not piece.text:
            self._thoughts += piece.has_thought
            return None
        whole = self._half + piece.text
        self._half = whole[-1] if "\ud800" <= whole[-1] <= "\udbff" else ""
        text = self._filter.add(valid_text(whole.removesuffix(self._half)))
        if self._filter.is_thinking:
            self._thoughts += 1
            return None
        self._chars += len(piece.text)
        if self._chars > _TOKEN_MAX_CHARS * self._request.answer_task.max_tokens:
            fail("sends more text than the answer has tokens.")
        self._text_events += 1
        return self._shown(text if self._loops is None else self._loops.add(text))

    def _note_reason(self, piece: Piece) -> None:
        has_more = bool(piece.text) or piece.has_thought
        if has_more:
            self._is_reason_doubtful |= self._finish_reason is not None
            self._is_reason_alone = False
            self._has_plain_text |= piece.reason is None
            self._has_empty_reasons |= piece.has_empty_reason
        self._is_reason_empty = piece.has_empty_reason and not has_more
        if piece.reason is not None:
            self._finish_reason, self.unknown_reason = piece.reason, piece.unknown_reason
            self._is_reason_alone = not has_more

    def _shown(self, text: str) -> TokenChunk | None:
        if not text:
            return None
        self._texts.append(text)
        logprobs, self._logprobs = tuple(self._logprobs), []
        return TokenChunk(text, logprobs)


def _count(value: object) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT
    return value if is_count else 0  # type: ignore[return-value]
