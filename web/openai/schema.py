"""The fields of a chat request and their bounds.

Names and forms are OpenAI's: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)
from pydantic_core import PydanticCustomError

from vlm.errors import BadRequestError
from vlm.prompts import CHAT_MAX_CHARS, TEXT_PATTERN, check_text
from vlm.settings import MAX_TOKENS_LIMIT

MAX_MESSAGES: Final = 64
MAX_PARTS: Final = 64
MAX_STOPS: Final = 4
MAX_TOP_LOGPROBS: Final = 20
NAME_MAX_CHARS: Final = 256


class _Part(BaseModel):
    """A part of a request. Unknown fields are refused, because they may be typing errors."""

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, frozen=True, defer_build=True
    )


def _checked(text: str) -> str:
    try:
        return check_text(text)
    except BadRequestError as error:
        raise PydanticCustomError("text", "{reason}", {"reason": str(error)}) from None


Text = Annotated[
    str,
    Field(max_length=CHAT_MAX_CHARS, json_schema_extra={"pattern": TEXT_PATTERN}),
    AfterValidator(_checked),
]


class TextPart(_Part):
    """Text in a message."""

    type: Literal["text"]
    text: Text


class ImageUrl(_Part):
    """An image, sent with the request: the server fetches nothing from an address."""

    url: str = Field(
        pattern=r"^data:[^,]*;base64,",
        description="A data URI of a JPEG, PNG or WebP in base64. Addresses are not fetched.",
    )
    detail: Literal["auto", "low", "high"] | None = Field(
        None,
        description="`low`, and `auto`: one tile. `high`: the model's own tiling, of all images.",
    )


class ImagePart(_Part):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


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


class SystemMessage(_Part):
    """Instructions for all answers; `developer` is the newer name of `system`."""

    role: Literal["system", "developer"]
    content: TextContent
    name: str | None = Field(None, max_length=NAME_MAX_CHARS)


class UserMessage(_Part):
    """A question, and the images that it is about."""

    role: Literal["user"]
    content: MixedContent
    name: str | None = Field(None, max_length=NAME_MAX_CHARS)


class AssistantMessage(_Part):
    """An earlier answer, as this server sent it: fields that only other servers fill are empty."""

    role: Literal["assistant"]
    content: TextContent
    name: str | None = Field(None, max_length=NAME_MAX_CHARS)
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None


Message = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]


class StreamOptions(_Part):
    """Extra contents of a stream."""

    include_usage: bool | None = Field(
        None, description="Send the token counts in one more chunk at the end."
    )
    include_obfuscation: bool | None = Field(None, description="Has no effect here.")


class ResponseFormat(_Part):
    """`json_object` makes the answer one JSON object. A JSON schema is not supported."""

    type: Literal["text", "json_object"]


def _no_number(value: object) -> object:
    # In Python, and so for a Literal, 0 == False.
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError("it must be false")
    return value


class NeutralFields(_Part):
    """Unsupported parameters: each is accepted only with its neutral value."""

    n: Annotated[int, Field(ge=1, le=1)] | None = Field(
        None, description="Only 1 is accepted: a request gets one answer."
    )
    frequency_penalty: Annotated[float, Field(ge=0, le=0)] | None = Field(
        None, description="Only 0 is accepted: there are no penalties."
    )
    presence_penalty: Annotated[float, Field(ge=0, le=0)] | None = Field(
        None, description="Only 0 is accepted: there are no penalties."
    )
    logit_bias: Annotated[dict[str, Any], Field(max_length=0)] | None = Field(
        None, description="Only an empty object is accepted: tokens have no bias."
    )
    tools: Annotated[list[Any], Field(max_length=0)] | None = Field(
        None, description="Only an empty list is accepted: the model calls no tools."
    )
    tool_choice: Literal["none", "auto"] | None = Field(
        None, description="Only `none` and `auto` are accepted: the model calls no tools."
    )
    functions: Annotated[list[Any], Field(max_length=0)] | None = Field(
        None, description="Only an empty list is accepted: the model calls no functions."
    )
    function_call: Literal["none", "auto"] | None = Field(
        None, description="Only `none` and `auto` are accepted: the model calls no functions."
    )
    audio: None = Field(None, description="Not supported: the model makes no sound.")
    modalities: list[Literal["text"]] | None = Field(
        None, description='Only ["text"] is accepted: the model answers in text.'
    )
    web_search_options: None = Field(None, description="Not supported: there is no search.")
    moderation: None = Field(None, description="Not supported: there is no moderation.")
    verbosity: Literal["medium"] | None = Field(
        None, description="Only `medium` is accepted: ask for a short answer in the prompt."
    )
    store: Annotated[Literal[False], BeforeValidator(_no_number)] | None = Field(
        None, description="Only false is accepted: nothing is stored."
    )


class IdleFields(_Part):
    """Parameters that cannot change an answer here. Accepted and ignored."""

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
        None, description="The most tokens of an answer; if absent: `--max-tokens`."
    )
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS_LIMIT)] | None = Field(
        None, description="The older name of `max_completion_tokens`; the smaller one holds."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="0, or absent: always the likeliest token."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Sample among the likeliest tokens with this probability together."
    )
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1)] | None = Field(
        None, description="The same seed and request give the same answer."
    )
    stop: Stop | None = Field(
        None, description=f"Up to {MAX_STOPS} texts at which the answer ends, without them."
    )
    stream: bool | None = Field(None, description="Whether to answer in server-sent events.")
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = Field(None, description="Whether to send each token's log probability.")
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = Field(
        None, description="How many alternatives of each token to send; needs `logprobs`."
    )
    user: str | None = Field(
        None, max_length=NAME_MAX_CHARS, description="The user; the requests of users take turns."
    )


StopText = Annotated[str, Field(min_length=1, max_length=NAME_MAX_CHARS)]
Stop = Annotated[
    Annotated[StopText, Tag("string")]
    | Annotated[Annotated[list[StopText], Field(max_length=MAX_STOPS)], Tag("parts")],
    Discriminator(_form_of),
]
