"""The fields of a chat request and their bounds.

Names and forms are OpenAI's: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from web.chats.fields import (
    MAX_MESSAGES,
    MAX_PARTS,
    MAX_STOPS,
    MAX_TOP_LOGPROBS,
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

MAX_BIASES: Final = 1024


def _not_zero(value: int) -> int:
    if value == 0:
        raise PydanticCustomError("limit", "must be 1 or more, or -1 for no limit")
    return value


TokenId = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,6})$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
TokenLimit = Annotated[
    int,
    Field(ge=-1, json_schema_extra={"not": {"const": 0}}),
    AfterValidator(_not_zero),
    Whole,
]


class TextPart(ChatPart):
    """Text in a message."""

    type: Literal["text", "input_text", "output_text"]
    text: Text


class RefusalPart(ChatPart):
    """An earlier answer that refused."""

    type: Literal["refusal"]
    refusal: Text


class ImageUrl(ChatPart):
    """An image, sent with the request: the server fetches nothing from an address."""

    url: str = Field(
        description="A data URI of a JPEG, PNG, WebP or AVIF in base64. Addresses are not fetched."
    )
    detail: str | None = Field(
        None,
        description="`high`, `original`: the model's own tiling, of all images. `small`, `tiny`: "
        "a smaller tile, if no image needs more. Else: one tile.",
    )


AnyImageUrl = Annotated[
    Annotated[str, Tag("string")] | Annotated[ImageUrl, Tag("parts")], Discriminator(form_of)
]


class ImagePart(ChatPart):
    """An image in a message."""

    type: Literal["image_url", "input_image"]
    image_url: AnyImageUrl
    detail: str | None = Field(None, description="As in `image_url`, if that is a string.")


Part = Annotated[TextPart | ImagePart | RefusalPart, Field(discriminator="type")]
Parts = Annotated[list[Part], Field(max_length=MAX_PARTS)]
Content = Annotated[
    Annotated[Text, Tag("string")] | Annotated[Parts, Tag("parts")], Discriminator(form_of)
]


Choices = Annotated[list[Text], Field(min_length=1, max_length=MAX_PARTS)]


class ChatMessage(ChatPart):
    """One turn of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"] = Field(
        description="`developer` is read as `system`, `tool` and `function` as `user`."
    )
    content: Content | None = None
    image_url: AnyImageUrl | None = Field(
        None, description="An image before the content. Not a field of OpenAI's."
    )
    tool_calls: Annotated[list[ToolCall], Field(max_length=MAX_PARTS)] | None = None
    tool_call_id: Any = None


class StreamOptions(ChatPart):
    """Extra contents of a stream."""

    include_usage: bool | None = Field(
        None, description="Send the token counts in one more chunk at the end."
    )


class JsonSchemaFormat(ChatPart):
    """A named JSON schema."""

    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = Field(None, description="Always true: each answer fits the schema.")


class ResponseFormat(ChatPart):
    """`json_object` makes the answer one JSON object, `json_schema` JSON of that schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None
    schema_: dict[str, Any] | None = Field(
        None, alias="schema", description="The schema, where llama.cpp has it."
    )


_NO_GRAMMAR: Final = "Not supported: send a JSON schema as `response_format`."


class StructuredOutputs(ChatPart):
    """The form of the answer as vLLM has it; at most one."""

    json_: dict[str, Any] | str | None = Field(None, alias="json")
    regex: str | None = None
    choice: Choices | None = None
    json_object: bool | None = None
    grammar: None = Field(None, description=_NO_GRAMMAR)
    structural_tag: None = Field(None, description=_NO_GRAMMAR)


class RefusedFields(ChatPart):
    """Parameters that would change what an answer is: refused, except with a neutral value."""

    n: Annotated[int, Field(ge=1, le=1), Whole] | None = Field(
        None, description="Only 1 is accepted: a request gets one answer."
    )
    function_call: Literal["none", "auto"] | None = Field(
        None, description="Only `none` and `auto` are accepted: send `tools` and `tool_choice`."
    )
    audio: None = Field(None, description="Not supported: the model makes no sound.")
    modalities: list[Literal["text"]] | None = Field(
        None, description='Only ["text"] is accepted: the model answers in text.'
    )
    guided_grammar: None = Field(None, description=_NO_GRAMMAR)
    grammar: None = Field(None, description=_NO_GRAMMAR)
    ebnf: None = Field(None, description=_NO_GRAMMAR)


class SamplingFields(ChatPart):
    """How tokens are chosen, with the fields of other servers."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="0, or absent: always the likeliest token."
    )
    top_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Sample among the likeliest tokens with this probability together."
    )
    top_k: Annotated[int, Field(ge=-1), Whole] | None = Field(
        None, description="Sample among so many likeliest tokens; 0 or -1: among all."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Sample among tokens with this part of the likeliest one's probability."
    )
    repetition_penalty: RepetitionFactor | None = Field(
        None, description="Makes tokens of prompt and answer less likely, if above 1."
    )
    repeat_penalty: RepetitionFactor | None = Field(
        None, description="The name of `repetition_penalty` for llama.cpp."
    )
    presence_penalty: Penalty | None = Field(
        None, description="Subtracted from the logits of tokens of the answer."
    )
    frequency_penalty: Penalty | None = Field(
        None, description="Subtracted from the logits of tokens for each time they came."
    )
    logit_bias: Annotated[dict[TokenId, Bias], Field(max_length=MAX_BIASES)] | None = Field(
        None, description="Token ids of this model, and what is added to their logits."
    )
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 1), Whole] | None = Field(
        None, description="The same seed and request give the same answer."
    )


class ChatCompletionRequest(RefusedFields, SamplingFields):
    """The body of `POST /v1/chat/completions`."""

    model: str | None = Field(
        None,
        max_length=NAME_MAX_CHARS,
        description="Any name: the model that runs answers, and its name is in the answer.",
    )
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_completion_tokens: TokenLimit | None = Field(
        None, description="The most tokens of an answer; -1, or absent: what the context holds."
    )
    max_tokens: TokenLimit | None = Field(
        None, description="The older name of `max_completion_tokens`; the smaller one holds."
    )
    continue_final_message: bool | None = Field(
        None,
        description="Whether the answer goes on with the text of the last message, which must be "
        "the assistant's. The answer has only what is new. As for vLLM.",
    )
    add_generation_prompt: bool | None = Field(
        None,
        description="False: the prompt ends with the last message, without the start of the "
        "assistant's turn. As for vLLM.",
    )
    stop: Stop | None = Field(
        None, description=f"Up to {MAX_STOPS} texts at which the answer ends, without them."
    )
    stop_loops: bool | None = Field(
        None,
        description="Whether the answer ends before a sentence or six words come for the third "
        "time, with the finish reason `stop`; in JSON, whether a text, a number or a list that "
        "repeats itself is closed. Absent: in JSON, or if there is no limit of tokens. Not a field "
        "of OpenAI's.",
    )
    stream: bool | None = Field(None, description="Whether to answer in server-sent events.")
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    json_schema: dict[str, Any] | None = Field(None, description="A schema, as for llama.cpp.")
    guided_json: dict[str, Any] | str | None = Field(None, description="A schema, as for vLLM.")
    guided_regex: str | None = Field(None, description="What the answer matches, as for vLLM.")
    regex: str | None = Field(None, description="What the answer matches, as for SGLang.")
    guided_choice: Choices | None = Field(None, description="The possible answers, as for vLLM.")
    logprobs: bool | None = Field(None, description="Whether to send each token's log probability.")
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS), Whole] | None = Field(
        None, description="How many alternatives of each token to send; needs `logprobs`."
    )
    tools: list[Any] | None = Field(
        None, description="Ignored, and answered in text, unless `tool_choice` forces one."
    )
    tool_choice: Any = Field(
        None,
        description="`required` with one tool, or the name of one, makes the answer a call of it, "
        "with arguments that fit its `parameters`. Ignored without `tools`.",
    )
    user: str | None = Field(
        None, max_length=NAME_MAX_CHARS, description="The user; the requests of users take turns."
    )
