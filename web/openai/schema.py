"""What the OpenAI-compatible API takes: which fields there are, and their bounds.

The names and forms are OpenAI's: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from vlm.prompts import CHAT_MAX_CHARS
from vlm.settings import MAX_TOKENS_LIMIT

MAX_MESSAGES: Final = 64
MAX_PARTS: Final = 64
MAX_STOPS: Final = 4
MAX_TOP_LOGPROBS: Final = 20
NAME_MAX_CHARS: Final = 256


class _Taken(BaseModel):
    """A part of a request: a field that is not known is refused, since it could be a slip."""

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, frozen=True, defer_build=True
    )


class TextPart(_Taken):
    """Words of a message."""

    type: Literal["text"]
    text: str = Field(max_length=CHAT_MAX_CHARS)


class ImageUrl(_Taken):
    """A picture, sent along: nothing is ever fetched from an address."""

    url: str = Field(
        pattern=r"^data:[^,]*;base64,",
        description="A data URI of a JPEG, PNG or WebP in base64. Addresses are not fetched.",
    )
    detail: Literal["auto", "low", "high"] | None = Field(
        None,
        description="`low`, and `auto`: one tile. `high`: the model's own tiling, of all images.",
    )


class ImagePart(_Taken):
    """A picture of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Text = Annotated[str, Field(max_length=CHAT_MAX_CHARS)]
TextParts = Annotated[list[TextPart], Field(min_length=1, max_length=MAX_PARTS)]
Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]
Parts = Annotated[list[Part], Field(min_length=1, max_length=MAX_PARTS)]


def _form_of(content: object) -> str:
    return "string" if isinstance(content, str) else "parts"


TextContent = Annotated[
    Annotated[Text, Tag("string")] | Annotated[TextParts, Tag("parts")], Discriminator(_form_of)
]
MixedContent = Annotated[
    Annotated[Text, Tag("string")] | Annotated[Parts, Tag("parts")], Discriminator(_form_of)
]


class SystemMessage(_Taken):
    """How to answer; `developer` is the newer name of `system`."""

    role: Literal["system", "developer"]
    content: TextContent
    name: str | None = Field(None, max_length=NAME_MAX_CHARS)


class UserMessage(_Taken):
    """What is asked, and the pictures that it is about."""

    role: Literal["user"]
    content: MixedContent
    name: str | None = Field(None, max_length=NAME_MAX_CHARS)


class AssistantMessage(_Taken):
    """An earlier answer, as it was sent: what only other servers fill must be empty."""

    role: Literal["assistant"]
    content: TextContent
    name: str | None = Field(None, max_length=NAME_MAX_CHARS)
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None


Message = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]


class StreamOptions(_Taken):
    """What a stream holds beside the answer."""

    include_usage: bool | None = Field(
        None, description="One more chunk at the end tells what the request cost."
    )
    include_obfuscation: bool | None = Field(None, description="Changes nothing here.")


class ResponseFormat(_Taken):
    """`json_object` makes the answer one JSON object. A JSON schema is not taken."""

    type: Literal["text", "json_object"]


def _no_number(value: object) -> object:
    # To Python, and so to a Literal, 0 is False.
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("it must be false")
    return value


class NeutralFields(_Taken):
    """What is not done here. Each is taken with the value that asks for nothing, no other."""

    n: Annotated[int, Field(ge=1, le=1)] | None = Field(
        None, description="Only 1 is taken: a request gets one answer."
    )
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = Field(
        None, description="Only 0 is taken: there are no penalties."
    )
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = Field(
        None, description="Only 0 is taken: there are no penalties."
    )
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = Field(
        None, description="Only an empty object is taken: no token is favoured."
    )
    tools: Annotated[list[Any], Field(max_length=0)] | None = Field(
        None, description="Only an empty list is taken: the model calls no tools."
    )
    tool_choice: Literal["none", "auto"] | None = Field(
        None, description="Only `none` and `auto` are taken: the model calls no tools."
    )
    functions: Annotated[list[Any], Field(max_length=0)] | None = Field(
        None, description="Only an empty list is taken: the model calls no functions."
    )
    function_call: Literal["none", "auto"] | None = Field(
        None, description="Only `none` and `auto` are taken: the model calls no functions."
    )
    audio: None = Field(None, description="Not taken: the model does not speak.")
    modalities: list[Literal["text"]] | None = Field(
        None, description='Only ["text"] is taken: the model answers in text.'
    )
    web_search_options: None = Field(None, description="Not taken: nothing is searched for.")
    moderation: None = Field(None, description="Not taken: nothing is moderated.")
    verbosity: Literal["medium"] | None = Field(
        None, description="Only `medium` is taken: ask for short answers in words."
    )
    store: Annotated[Literal[False], BeforeValidator(_no_number)] | None = Field(
        None, description="Only false is taken: nothing is stored."
    )


class IdleFields(_Taken):
    """What clients send and what cannot change an answer here. Taken, and not looked at."""

    metadata: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    prediction: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None


class ChatCompletionRequest(NeutralFields, IdleFields):
    """The body of `POST /v1/chat/completions`."""

    model: str = Field(
        min_length=1, max_length=NAME_MAX_CHARS, description="A name that `/v1/models` lists."
    )
    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS_LIMIT)] | None = Field(
        None, description="How many tokens the answer has at most; absent: `--max-tokens`."
    )
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS_LIMIT)] | None = Field(
        None, description="The older name of `max_completion_tokens`; the smaller one counts."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="0, or absent: the likeliest token each time."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Only the likeliest tokens that together have this probability count."
    )
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = Field(
        None, description="The same seed and request give the same answer."
    )
    stop: Stop | None = Field(
        None, description=f"Up to {MAX_STOPS} texts at which the answer ends, without them."
    )
    stream: bool | None = Field(None, description="Whether to answer by server-sent events.")
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = Field(None, description="Whether to tell each token's probability.")
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = Field(
        None, description="How many other tokens to tell at each place; needs `logprobs`."
    )
    user: str | None = Field(
        None, max_length=NAME_MAX_CHARS, description="Who asks: users take turns."
    )


StopText = Annotated[str, Field(min_length=1, max_length=NAME_MAX_CHARS)]
Stop = Annotated[
    Annotated[StopText, Tag("string")]
    | Annotated[Annotated[list[StopText], Field(max_length=MAX_STOPS)], Tag("parts")],
    Discriminator(_form_of),
]
