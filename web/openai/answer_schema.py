"""What the OpenAI-compatible API answers, in OpenAI's names and forms.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


def _is_none(value: object) -> bool:
    return value is None


class _Given(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class TopLogprob(_Given):
    """A token that could stand at a place, with the natural logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    """The token that does stand there, and the likeliest ones."""

    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(_Given):
    """The tokens of an answer, or of a chunk of it."""

    content: list[TokenLogprob] | None
    refusal: None = None


class AnswerMessage(_Given):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


FinishReason = Literal["stop", "length"]


class Choice(_Given):
    """The one answer; `length`: it was cut off at the token limit."""

    index: int = 0
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: FinishReason


class PromptTokensDetails(_Given):
    """Of the tokens that were read, those that pictures took."""

    cached_tokens: int = 0
    image_tokens: int


class Usage(_Given):
    """What the request cost, in tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class ChatCompletion(_Given):
    """The whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(description="When it was asked for, in seconds since 1970.")
    model: str
    choices: list[Choice]
    usage: Usage
    system_fingerprint: str | None = None


class Delta(_Given):
    """What a chunk adds; the first one tells the role."""

    role: Literal["assistant"] | None = Field(default=None, exclude_if=_is_none)
    content: str | None = Field(default=None, exclude_if=_is_none)


class ChunkChoice(_Given):
    """The one answer, as far as this chunk brings it; the last one tells why it ended."""

    index: int = 0
    delta: Delta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatCompletionChunk(_Given):
    """One event of a streamed answer; that with the usage has no choices."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = Field(default=None, exclude_if=_is_none)
    system_fingerprint: str | None = None


class Model(_Given):
    """A model that answers."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(_Given):
    """The models that answer."""

    object: Literal["list"] = "list"
    data: list[Model]


class ErrorDetail(_Given):
    """What went wrong, whose fault it is and, where it is a field's, which one."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(_Given):
    """The body of every answer that is not 2xx."""

    error: ErrorDetail
