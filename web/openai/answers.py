"""OpenAI's answers to a chat, made from the events of a stream: one whole, or chunk by chunk.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from vlm import results
from vlm.errors import SightlineError
from vlm.results import Result, Stats, StreamEvent
from web.chats.fields import is_none
from web.errors import openai_error_body, status_of
from web.streaming import WAITING

# OpenAI's value for a token of probability 0: JSON has no infinity.
_LEAST_LOGPROB: Final = -9999.0


class AnswerPart(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class TopLogprob(AnswerPart):
    """A token with its natural log probability."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """A token of the answer, and the likeliest tokens in its place."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(AnswerPart):
    """The tokens of an answer or a chunk."""

    content: list[TokenLogprob] | None
    refusal: None = None


class CalledFunction(AnswerPart):
    """The function that is called; a chunk has the next part of the arguments, without the name."""

    name: str | None = Field(default=None, exclude_if=is_none)
    arguments: str = Field(description="JSON that fits the parameters of the tool.")


class AnswerToolCall(AnswerPart):
    """A call of a tool; of a stream, the first chunk has id, type and name."""

    index: int | None = Field(default=None, exclude_if=is_none)
    id: str | None = Field(default=None, exclude_if=is_none)
    type: Literal["function"] | None = Field(default=None, exclude_if=is_none)
    function: CalledFunction


class AnswerMessage(AnswerPart):
    """The text of an answer, or the call of the tool that was forced."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    tool_calls: list[AnswerToolCall] | None = Field(default=None, exclude_if=is_none)


FinishReason = Literal["stop", "length", "tool_calls"]


class Choice(AnswerPart):
    """The only answer; `length`: it was cut off at the token limit."""

    index: int = 0
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason


class PromptTokensDetails(AnswerPart):
    """The image tokens among the prompt tokens."""

    cached_tokens: int = 0
    image_tokens: int


class Usage(AnswerPart):
    """The token counts of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class ChatCompletion(AnswerPart):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="Time of the request, in seconds since 1970.")
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str | None = None


class Delta(AnswerPart):
    """The text that a chunk adds; the first chunk has the role."""

    role: Literal["assistant"] | None = Field(default=None, exclude_if=is_none)
    content: str | None = Field(default=None, exclude_if=is_none)
    tool_calls: list[AnswerToolCall] | None = Field(default=None, exclude_if=is_none)


class ChunkChoice(AnswerPart):
    """A chunk's part of the answer; the last one has the reason why it ended."""

    index: int = 0
    delta: Delta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatCompletionChunk(AnswerPart):
    """One event of a streamed answer; the one with `usage` has no choices."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = Field(default=None, exclude_if=is_none)
    system_fingerprint: str | None = None


@dataclass(frozen=True)
class ChatAnswer:
    """Makes the answer to one chat; all its chunks share these fields."""

    stream_type: ClassVar[str] = "text/event-stream"

    model: str
    with_logprobs: bool
    with_usage: bool
    tool: str | None = None
    """The name of the tool whose arguments are the answer."""
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    # Seconds since 1970.
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, events: Iterable[StreamEvent | None]) -> ChatCompletion | None:
        """Return the whole answer, or None if `events` end without a Result.

        Raises the SightlineError that `events` raise.
        """
        logprobs: list[results.TokenLogprob] = []
        for event in events:
            if isinstance(event, Result):
                choice = Choice(
                    message=self._message(event.text),
                    logprobs=self._logprobs(logprobs),
                    finish_reason=self._finish_reason(event),
                )
                return ChatCompletion(
                    id=self.id,
                    created=self.created,
                    model=self.model,
                    choices=[choice],
                    usage=_usage(event.stats),
                )
            if event is not None:
                logprobs += event.logprobs
        return None

    def chunks(self, events: Iterable[StreamEvent | None]) -> Iterator[str]:
        """Yield the server-sent events of the answer; after an error there is no `[DONE]`."""
        yield self._chunk(ChunkChoice(delta=self._first_delta()))
        try:
            for event in events:
                if event is None:
                    yield WAITING
                elif isinstance(event, Result):
                    reason = self._finish_reason(event)
                    yield self._chunk(ChunkChoice(delta=Delta(), finish_reason=reason))
                    if self.with_usage:
                        yield self._chunk(usage=_usage(event.stats))
                    yield "data: [DONE]\n\n"
                else:
                    delta, logprobs = self._delta(event.text), self._logprobs(event.logprobs)
                    yield self._chunk(ChunkChoice(delta=delta, logprobs=logprobs))
        except SightlineError as error:
            body = openai_error_body(error.code, str(error), status_of(error))
            yield f"data: {json.dumps(body)}\n\n"

    def _message(self, text: str) -> AnswerMessage:
        if self.tool is None:
            return AnswerMessage(content=text)
        function = CalledFunction(name=self.tool, arguments=text)
        call = AnswerToolCall(id=self._call_id, type="function", function=function)
        return AnswerMessage(content=None, tool_calls=[call])

    def _first_delta(self) -> Delta:
        if self.tool is None:
            return Delta(role="assistant", content="")
        function = CalledFunction(name=self.tool, arguments="")
        call = AnswerToolCall(index=0, id=self._call_id, type="function", function=function)
        return Delta(role="assistant", tool_calls=[call])

    def _delta(self, text: str) -> Delta:
        if self.tool is None:
            return Delta(content=text)
        return Delta(tool_calls=[AnswerToolCall(index=0, function=CalledFunction(arguments=text))])

    @property
    def _call_id(self) -> str:
        return self.id.replace("chatcmpl-", "call_")

    def _finish_reason(self, result: Result) -> FinishReason:
        reason = finish_reason_of(result)
        return "tool_calls" if reason == "stop" and self.tool is not None else reason

    def _chunk(self, *choices: ChunkChoice, usage: Usage | None = None) -> str:
        chunk = ChatCompletionChunk(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=list(choices),
            usage=usage,
        )
        return f"data: {chunk.model_dump_json()}\n\n"

    def _logprobs(self, tokens: Sequence[results.TokenLogprob]) -> ChoiceLogprobs | None:
        if not self.with_logprobs:
            return None
        return ChoiceLogprobs(content=[token_logprob(token) for token in tokens])


def token_logprob(token: results.TokenLogprob) -> TokenLogprob:
    """Return a token of the answer as OpenAI writes it."""
    top = [_top_logprob(alternative) for alternative in token.top]
    return TokenLogprob(**dict(_top_logprob(token)), top_logprobs=top)


def _top_logprob(token: results.TokenLogprob) -> TopLogprob:
    return TopLogprob(
        token=token.token,
        logprob=max(token.logprob, _LEAST_LOGPROB),
        bytes=list(token.token_bytes),
    )


def finish_reason_of(result: Result) -> Literal["stop", "length"]:
    """Return why the answer ended, in OpenAI's words."""
    # OpenAI's clients know no loops.
    return "length" if result.finish_reason == "length" else "stop"


def _usage(stats: Stats) -> Usage:
    return Usage(
        prompt_tokens=stats.prompt_tokens,
        completion_tokens=stats.tokens,
        total_tokens=stats.prompt_tokens + stats.tokens,
        prompt_tokens_details=PromptTokensDetails(image_tokens=stats.image_tokens),
    )
