"""The fields of Ollama's requests and their bounds.

Names and forms are Ollama's: https://docs.ollama.com/api. A field that no class here has is ignored
and named in the answer: `keep_alive`, `think`, `tools`, `template`, `raw`, `context`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from web.chats.fields import (
    MAX_MESSAGES,
    MAX_PARTS,
    NAME_MAX_CHARS,
    ChatPart,
    Penalty,
    RepetitionFactor,
    Stop,
    Text,
    ToolCall,
    Whole,
    form_of,
)

Name = Annotated[str, Field(max_length=NAME_MAX_CHARS)]
Images = Annotated[list[str], Field(max_length=MAX_PARTS)]
Format = Annotated[
    Annotated[Literal["", "json"], Tag("string")] | Annotated[dict[str, Any], Tag("parts")],
    Discriminator(form_of),
]


class Options(ChatPart):
    """How the answer is made; what is not among these is ignored (`num_ctx`, `num_gpu`)."""

    num_predict: Annotated[int, Whole] | None = Field(
        None, description="The most tokens of the answer; -1, -2, 0 or absent: what fits."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="0, or absent: always the likeliest token."
    )
    top_k: Annotated[int, Whole] | None = Field(
        None, description="Sample among so many likeliest tokens; below 1: among all."
    )
    top_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Sample among the likeliest tokens with this probability together."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Sample among tokens with this part of the likeliest one's probability."
    )
    repeat_penalty: RepetitionFactor | None = Field(
        None, description="Makes tokens of prompt and answer less likely, if above 1."
    )
    presence_penalty: Penalty | None = Field(
        None, description="Subtracted from the logits of tokens of the answer."
    )
    frequency_penalty: Penalty | None = Field(
        None, description="Subtracted from the logits of tokens for each time they came."
    )
    seed: Annotated[int, Whole, Field(ge=-(2**63), le=2**63 - 1)] | None = Field(
        None, description="The same seed and request give the same answer."
    )
    stop: Stop | None = Field(None, description="Texts at which the answer ends, without them.")


class _AnyRequest(ChatPart):
    """What both kinds of requests have."""

    model: Name | None = Field(
        None, description="Any name: the model that runs answers, and its name is in the answer."
    )
    stream: bool | None = Field(
        None, description="Whether to answer in lines of JSON; absent: true."
    )
    format: Format | None = Field(
        None, description='"json": the answer is one JSON object. A schema: JSON of that schema.'
    )
    options: Options | None = None


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class OllamaMessage(ChatPart):
    """One turn of a chat."""

    role: Annotated[
        Literal["system", "developer", "user", "assistant", "tool", "function"],
        BeforeValidator(_lower),
    ] = Field(description="`tool` and `function` are read as `user`, `developer` as `system`.")
    content: Text | None = None
    images: Images | None = Field(
        None,
        description="JPEG, PNG, WebP or AVIF in base64. Each stands where the text has `[img]`, "
        "the others before it.",
    )
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_PARTS)] | None = None
    tool_call_id: Any = None
    tool_name: Any = None


class OllamaChatRequest(_AnyRequest):
    """The body of `POST /api/chat`; without messages it only asks for the model."""

    messages: Annotated[list[OllamaMessage], Field(max_length=MAX_MESSAGES)] | None = None


class OllamaGenerateRequest(_AnyRequest):
    """The body of `POST /api/generate`; without prompt and images it only asks for the model."""

    prompt: Text | None = None
    system: Text | None = None
    images: Images | None = Field(None, description="As in the messages of `/api/chat`.")
    suffix: Literal[""] | None = Field(
        None, description="Not supported: the model does not fill gaps in a text."
    )


class OllamaShowRequest(ChatPart):
    """The body of `POST /api/show` and of `POST /api/pull`."""

    model: Name | None = Field(None, description="Any name: the model that runs is described.")
    name: Name | None = Field(None, description="The older name of `model`.")
