"""A streamed answer of OpenAI's chat API, read event by event and complete only if it says so.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, Literal, NoReturn

from vlm.loops import loop_guard
from vlm.remote.failures import UpstreamFailure, error_message, quoted
from vlm.types import FinishReason, Request, Stats, TokenChunk, TokenLogprob

Stage = Literal["waiting", "thinking", "answering", "complete"]

_DONE: Final = "[DONE]"
# No token has more characters; an answer beyond that ignores its token limit.
_TOKEN_MAX_CHARS: Final = 256
# Events without text: roles, usage, the progress that some servers report.
_EVENTS_PER_TOKEN, _SPARE_EVENTS = 8, 1024
# Comments included. Twenty alternatives of a token take a few KiB.
_BYTES_PER_STEP, _SPARE_BYTES = 16 * 2**10, 2 * 2**20
# Models that think before they answer send their thoughts in one of these fields, some of them
# beyond `max_tokens`.
_THOUGHTS: Final = ("reasoning_content", "reasoning")
_MAX_THOUGHTS: Final = 16_384
_MAX_COUNT: Final = 10**9

# In lower case; some servers write them in capitals.
_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
}


class UpstreamAnswer:
    """One answer of a server. Its methods raise UpstreamFailure if the answer is invalid."""

    def __init__(self, request: Request, key: str | None) -> None:
        """`key` is removed from the server's error messages."""
        self._request = request
        self._key = key
        self._loops = loop_guard(request.task)
        self._texts: list[str] = []
        self._chars = 0
        self._events = 0
        self._text_events = 0
        self._thoughts = 0
        self._bytes = 0
        self._logprobs: list[TokenLogprob] = []
        self._finish_reason: FinishReason | None = None
        self._usage: dict[str, Any] = {}
        self._is_done = False

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
        """Whether the server ended the answer, by a finish reason or by `[DONE]`."""
        return self._finish_reason is not None or self._is_done

    @property
    def has_loop(self) -> bool:
        """Return whether the text was cut at a loop; the rest of the stream is not needed."""
        return self._loops is not None and self._loops.has_loop

    @property
    def is_done(self) -> bool:
        """Return whether `[DONE]` has come; nothing follows it."""
        return self._is_done

    def count(self, size: int) -> None:
        """Count `size` bytes of the stream, whatever they hold."""
        self._bytes += size
        if self._bytes > _BYTES_PER_STEP * self.steps + _SPARE_BYTES:
            _fail("sends too many bytes without text.")

    def add(self, data: str) -> TokenChunk | None:
        """Read the data of one event; return its text, if any."""
        if self._is_done:
            return None
        self._events += 1
        limit = _EVENTS_PER_TOKEN * self._request.task.max_tokens + _SPARE_EVENTS
        if self._events - self._thoughts > limit or self._thoughts > _MAX_THOUGHTS:
            _fail("sends more events than the answer has tokens.")
        if data.strip() == _DONE:
            self._is_done = True
            return None
        choice = self._choice(_parse_object(data))
        return None if choice is None else self._add_choice(choice)

    def rest(self) -> TokenChunk | None:
        """Return the text that was held back, if any. No event comes after it."""
        return None if self._loops is None else self._shown(self._loops.finish())

    def add_whole(self, data: str) -> TokenChunk | None:
        """Read a whole answer in one JSON object, which some servers send in place of events."""
        whole = _parse_object(data)
        choice = self._choice(whole)
        if choice is None or not isinstance(choice.get("message"), dict):
            reason = quoted(error_message(whole), self._key)
            _fail(f"sends an answer that is not in the form of OpenAI's API{reason}.")
        chunk = self._add_choice({**choice, "delta": choice["message"]})
        self._is_done = True
        return chunk

    def finish_reason(self) -> FinishReason:
        """Return why the answer ended; raise UpstreamFailure if it is not complete."""
        if self.has_loop:
            return "loop"
        if self._finish_reason is not None:
            return self._finish_reason
        if not self._is_done:
            _fail("ended its stream in the middle of an answer.")
        return "length" if self._tokens() >= self._request.task.max_tokens else "stop"

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

    def _choice(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        """Return the first choice in `chunk`, after its error and usage are read."""
        # Some servers send an empty error beside each text.
        if chunk.get("error") or chunk.get("object") == "error":
            reason = quoted(error_message(chunk), self._key)
            raise UpstreamFailure("broken", f"ended the answer with an error{reason}.")
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage = usage
        return _first_choice(chunk)

    def _add_choice(self, choice: dict[str, Any]) -> TokenChunk | None:
        reason = choice.get("finish_reason")
        # An empty one comes with each text of some servers.
        if reason is not None and reason != "":
            if not isinstance(reason, str) or reason.lower() not in _FINISH_REASONS:
                _fail("ended the answer before it was complete.")
            self._finish_reason = _FINISH_REASONS[reason.lower()]
        if self._request.task.top_logprobs is not None:
            self._logprobs += _logprobs(choice.get("logprobs"))
        delta = choice.get("delta") or {}
        content = delta.get("content") if isinstance(delta, dict) else 0
        if content is not None and not isinstance(content, str):
            _fail("sends text that is not a string.")
        if not content:
            thoughts = [delta.get(name) for name in _THOUGHTS]
            self._thoughts += any(isinstance(each, str) and each for each in thoughts)
            return None
        self._chars += len(content)
        if self._chars > _TOKEN_MAX_CHARS * self._request.task.max_tokens:
            _fail("sends more text than the answer has tokens.")
        self._text_events += 1
        # No caption begins with the space before its first word, whatever engine made it.
        text = _valid_text(content if self._texts else content.lstrip())
        return self._shown(text if self._loops is None else self._loops.add(text))

    def _shown(self, text: str) -> TokenChunk | None:
        if not text:
            return None
        self._texts.append(text)
        logprobs, self._logprobs = tuple(self._logprobs), []
        return TokenChunk(text, logprobs)


def _fail(words: str) -> NoReturn:
    raise UpstreamFailure("broken", words)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _parse_object(data: str) -> dict[str, Any]:
    try:
        value = json.loads(data, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        _fail("sends an answer that is not JSON.")
    return value


def _first_choice(chunk: dict[str, Any]) -> dict[str, Any] | None:
    choices = chunk.get("choices")
    if choices is None or choices == []:
        return None
    if not isinstance(choices, list) or not isinstance(choices[0], dict):
        _fail("sends an answer that is not in the form of OpenAI's API.")
    first: dict[str, Any] = choices[0]
    return first


def _valid_text(text: str) -> str:
    """Return `text` with lone surrogates, which JSON may contain, replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _count(value: object) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT
    return value if is_count else 0  # type: ignore[return-value]


def _logprobs(value: object) -> list[TokenLogprob]:
    content = value.get("content") if isinstance(value, dict) else None
    if content is None:
        return []
    if not isinstance(content, list):
        _fail("sends invalid logprobs.")
    return [_logprob(each) for each in content]


def _logprob(value: object, is_top: bool = False) -> TokenLogprob:
    if not isinstance(value, dict):
        _fail("sends invalid logprobs.")
    token, data = value.get("token"), value.get("bytes")
    top = [] if is_top else value.get("top_logprobs") or []
    if not isinstance(token, str) or not isinstance(top, list):
        _fail("sends invalid logprobs.")
    token = _valid_text(token)
    try:
        token_bytes = bytes(data) if isinstance(data, list) else token.encode()
        logprob = float(value.get("logprob"))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        _fail("sends invalid logprobs.")
    if not math.isfinite(logprob):
        _fail("sends invalid logprobs.")
    return TokenLogprob(token, token_bytes, logprob, tuple(_logprob(one, True) for one in top))
