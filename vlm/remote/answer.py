"""A streamed answer of OpenAI's chat API, event by event: never taken for whole before its end.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, Literal, NoReturn

from vlm.remote.failures import Failure, message_in, quoted
from vlm.types import FinishReason, Request, Stats, TokenChunk, TokenLogprob

Stage = Literal["waiting", "answering", "over"]

_DONE: Final = "[DONE]"
# More characters than any token has; an answer beyond that ignores its limit of tokens.
_TOKEN_MAX_CHARS: Final = 256
# Events beside those of the tokens: roles, usage, what some servers tell of their progress.
_EVENTS_PER_TOKEN, _SPARE_EVENTS = 8, 1024
_MAX_COUNT: Final = 10**9

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
}


class Answer:
    """One answer as it comes in."""

    def __init__(self, request: Request, key: str | None) -> None:
        self._request = request
        self._key = key
        self._texts: list[str] = []
        self._chars = 0
        self._events = 0
        self._text_events = 0
        self._logprobs: list[TokenLogprob] = []
        self._finish_reason: FinishReason | None = None
        self._usage: dict[str, Any] = {}
        self._is_over = False

    @property
    def text(self) -> str:
        """What has come so far."""
        return "".join(self._texts)

    @property
    def stage(self) -> Stage:
        """Whether text has come, and whether the server has said that it was all."""
        if self.is_whole:
            return "over"
        return "answering" if self._texts else "waiting"

    @property
    def is_whole(self) -> bool:
        """Whether the server has said that the text is all of the answer."""
        return self._finish_reason is not None or self._is_over

    def take(self, data: str) -> TokenChunk | None:
        """The text that one event brings, if any; raises Failure where it is no such event."""
        if self._is_over:
            return None
        self._events += 1
        if self._events > _EVENTS_PER_TOKEN * self._request.max_tokens + _SPARE_EVENTS:
            _fail("goes on after the end of its answer.")
        if data.strip() == _DONE:
            self._is_over = True
            return None
        chunk = _object(data)
        if chunk.get("error") is not None or chunk.get("object") == "error":
            said = quoted(message_in(chunk), self._key)
            raise Failure("broken", f"gave the answer up{said}.")
        self._take_usage(chunk.get("usage"))
        choice = _first_choice(chunk)
        return None if choice is None else self._take_choice(choice)

    def finish_reason(self) -> FinishReason:
        """Why the answer ended; raises Failure where it broke off instead."""
        if self._finish_reason is not None:
            return self._finish_reason
        if not self._is_over:
            _fail("broke off in the middle of an answer.")
        return "length" if self._tokens() >= self._request.max_tokens else "stop"

    def stats(self, ttft_s: float, total_s: float) -> Stats:
        """What it cost: tokens as the server counts them, else one for each event with text."""
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

    def _take_usage(self, usage: object) -> None:
        if isinstance(usage, dict):
            self._usage = usage

    def _take_choice(self, choice: dict[str, Any]) -> TokenChunk | None:
        reason = choice.get("finish_reason")
        if reason is not None:
            if not isinstance(reason, str) or reason not in _FINISH_REASONS:
                _fail("gave the answer up before its end.")
            self._finish_reason = _FINISH_REASONS[reason]
        if self._request.top_logprobs is not None:
            self._logprobs += _logprobs(choice.get("logprobs"))
        delta = choice.get("delta") or {}
        content = delta.get("content") if isinstance(delta, dict) else 0
        if content is not None and not isinstance(content, str):
            _fail("sends text that is none.")
        if not content:
            return None
        self._chars += len(content)
        if self._chars > _TOKEN_MAX_CHARS * self._request.max_tokens:
            _fail("goes on after the end of its answer.")
        self._text_events += 1
        # As everywhere here, a caption does not begin with the space before its first word.
        text = _whole_characters(content if self._texts else content.lstrip())
        if not text:
            return None
        self._texts.append(text)
        logprobs, self._logprobs = tuple(self._logprobs), []
        return TokenChunk(text, logprobs)


def _fail(words: str) -> NoReturn:
    raise Failure("broken", words)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _object(data: str) -> dict[str, Any]:
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
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
        _fail("sends an answer that makes no sense.")
    first: dict[str, Any] = choices[0]
    return first


def _whole_characters(text: str) -> str:
    """`text` as UTF-8 can say it: JSON may hold halves of characters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _count(value: object) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT
    return value if is_count else 0  # type: ignore[return-value]


def _logprobs(said: object) -> list[TokenLogprob]:
    content = said.get("content") if isinstance(said, dict) else None
    if content is None:
        return []
    if not isinstance(content, list):
        _fail("sends logprobs that make no sense.")
    return [_logprob(each) for each in content]


def _logprob(said: object, is_top: bool = False) -> TokenLogprob:
    if not isinstance(said, dict):
        _fail("sends logprobs that make no sense.")
    token, data = said.get("token"), said.get("bytes")
    top = [] if is_top else said.get("top_logprobs") or []
    if not isinstance(token, str) or not isinstance(top, list):
        _fail("sends logprobs that make no sense.")
    token = _whole_characters(token)
    try:
        token_bytes = bytes(data) if isinstance(data, list) else token.encode()
        logprob = float(said.get("logprob"))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        _fail("sends logprobs that make no sense.")
    if not math.isfinite(logprob):
        _fail("sends logprobs that make no sense.")
    return TokenLogprob(token, token_bytes, logprob, tuple(_logprob(one, True) for one in top))
