"""A streamed answer of OpenAI's chat API, read event by event and complete only if it says so.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, Literal, NoReturn

from vlm.remote.failures import UpstreamFailure, error_message, quoted
from vlm.types import FinishReason, Request, Stats, TokenChunk, TokenLogprob

Stage = Literal["waiting", "answering", "complete"]

_DONE: Final = "[DONE]"
# No token has more characters; an answer beyond that ignores its token limit.
_TOKEN_MAX_CHARS: Final = 256
# Events without text: roles, usage, the progress that some servers report.
_EVENTS_PER_TOKEN, _SPARE_EVENTS = 8, 1024
_MAX_COUNT: Final = 10**9

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
}


class UpstreamAnswer:
    """One answer of a server. Its methods raise UpstreamFailure if the answer is invalid."""

    def __init__(self, request: Request, key: str | None) -> None:
        """`key` is removed from the server's error messages."""
        self._request = request
        self._key = key
        self._texts: list[str] = []
        self._chars = 0
        self._events = 0
        self._text_events = 0
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
        """ "waiting" before the first text, "complete" once the server ended the answer."""
        if self.is_complete:
            return "complete"
        return "answering" if self._texts else "waiting"

    @property
    def is_complete(self) -> bool:
        """Whether the server ended the answer, by a finish reason or by `[DONE]`."""
        return self._finish_reason is not None or self._is_done

    def add(self, data: str) -> TokenChunk | None:
        """Read the data of one event; return its text, if any."""
        if self._is_done:
            return None
        self._events += 1
        if self._events > _EVENTS_PER_TOKEN * self._request.task.max_tokens + _SPARE_EVENTS:
            _fail("sends more events than the answer has tokens.")
        if data.strip() == _DONE:
            self._is_done = True
            return None
        chunk = _parse_object(data)
        if chunk.get("error") is not None or chunk.get("object") == "error":
            reason = quoted(error_message(chunk), self._key)
            raise UpstreamFailure("broken", f"ended the answer with an error{reason}.")
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage = usage
        choice = _first_choice(chunk)
        return None if choice is None else self._add_choice(choice)

    def finish_reason(self) -> FinishReason:
        """Return why the answer ended; raise UpstreamFailure if it is not complete."""
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

    def _add_choice(self, choice: dict[str, Any]) -> TokenChunk | None:
        reason = choice.get("finish_reason")
        if reason is not None:
            if not isinstance(reason, str) or reason not in _FINISH_REASONS:
                _fail("ended the answer before it was complete.")
            self._finish_reason = _FINISH_REASONS[reason]
        if self._request.task.top_logprobs is not None:
            self._logprobs += _logprobs(choice.get("logprobs"))
        delta = choice.get("delta") or {}
        content = delta.get("content") if isinstance(delta, dict) else 0
        if content is not None and not isinstance(content, str):
            _fail("sends text that is not a string.")
        if not content:
            return None
        self._chars += len(content)
        if self._chars > _TOKEN_MAX_CHARS * self._request.task.max_tokens:
            _fail("sends more text than the answer has tokens.")
        self._text_events += 1
        # No caption begins with the space before its first word, whatever engine made it.
        text = _valid_text(content if self._texts else content.lstrip())
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
