"""The fields of a request to `/v1/responses` and their bounds.

Names and forms are OpenAI's: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from web.chats.fields import (
    MAX_MESSAGES,
    MAX_TOP_LOGPROBS,
    NAME_MAX_CHARS,
    ChatPart,
    FunctionCall,
    Stop,
    Text,
    Whole,
    form_of,
)
from web.openai.schema import Content, SamplingFields, TokenLimit

LOGPROBS: Final = "message.output_text.logprobs"

_NOTHING_KEPT: Final = "Nothing is kept here: send the whole chat as `input`."
# Items of tools that OpenAI's servers run, and of models that think. They tell a model nothing that
# the messages do not.
WithoutEffect = Literal[
    "reasoning",
    "compaction",
    "code_interpreter_call",
    "computer_call",
    "computer_call_output",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "web_search_call",
]


class InputMessage(ChatPart):
    """One turn of the chat, or an earlier answer."""

    type: Literal["message"] | None = None
    role: Literal["system", "developer", "user", "assistant"] = Field(
        description="`developer` is read as `system`."
    )
    content: Content | None
    id: Any = None
    status: Any = None
    phase: Any = None


class InputCall(FunctionCall):
    """A function that an earlier answer called, or another tool."""

    type: Literal["function_call", "custom_tool_call"]
    input: Any = Field(None, description="The arguments of another tool.")
    call_id: Any = None
    id: Any = None
    status: Any = None


class InputCallOutput(ChatPart):
    """What a function or another tool returned; it is read as the user's words."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    output: Content | None
    call_id: Any = None
    id: Any = None
    status: Any = None


class OtherItem(ChatPart):
    """An item that has no effect here."""

    model_config = ConfigDict(extra="ignore")

    type: WithoutEffect


def _kind_of(item: Any) -> str:
    kind = item.get("type") if isinstance(item, dict) else getattr(item, "type", None)
    if kind in get_args(WithoutEffect):
        return "other"
    return "message" if kind is None else str(kind).replace("custom_tool", "function")


Item = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputCallOutput, Tag("function_call_output")]
    | Annotated[OtherItem, Tag("other")],
    Discriminator(
        _kind_of,
        custom_error_type="limit",
        custom_error_message="must be a message, a function_call or a function_call_output: "
        "nothing is kept here that an item could refer to",
    ),
]
Items = Annotated[list[Item], Field(min_length=1, max_length=MAX_MESSAGES)]


class TextFormat(ChatPart):
    """`json_object` makes the answer one JSON object, `json_schema` JSON of that schema."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = Field(None, description="Always true: each answer fits the schema.")


class TextConfig(ChatPart):
    """How the text of the answer is to be."""

    format: TextFormat | None = None


def _not_true(value: bool) -> bool:
    if value:
        raise PydanticCustomError("limit", "must be false")
    return value


class RefusedResponsesFields(ChatPart):
    """Parameters for which the server would have to keep something: only null is accepted."""

    previous_response_id: None = Field(None, description=_NOTHING_KEPT)
    conversation: None = Field(None, description=_NOTHING_KEPT)
    prompt: None = Field(None, description="No prompts are kept here: send `instructions`.")
    background: Annotated[bool, AfterValidator(_not_true)] | None = Field(
        None,
        description="Nothing is kept here: wait for the answer, or use `stream`.",
        json_schema_extra={"not": {"const": True}},
    )


class ResponsesRequest(RefusedResponsesFields, SamplingFields):
    """The body of `POST /v1/responses`."""

    model: str | None = Field(
        None,
        max_length=NAME_MAX_CHARS,
        description="Any name: the model that runs answers, and its name is in the answer.",
    )
    input: Annotated[
        Annotated[Text, Tag("string")] | Annotated[Items, Tag("parts")], Discriminator(form_of)
    ]
    instructions: Text | None = Field(None, description="A system message before the input.")
    max_output_tokens: TokenLimit | None = Field(
        None, description="The most tokens of the answer; -1, or absent: what the context holds."
    )
    stop_loops: bool | None = Field(
        None, description="As in `/v1/chat/completions`. Not a field of OpenAI's."
    )
    stream: bool | None = Field(None, description="Whether to answer in server-sent events.")
    stop: Stop | None = Field(None, description="As in chats. Not a field of OpenAI's.")
    text: TextConfig | None = None
    tools: list[Any] | None = Field(
        None, description="Ignored, and answered in text, unless `tool_choice` forces one."
    )
    tool_choice: Any = Field(
        None,
        description="`required` with one tool, or the name of one, makes the answer a call of it, "
        "with arguments that fit its `parameters`. Ignored without `tools`.",
    )
    include: list[str] | None = Field(
        None, description=f"`{LOGPROBS}`: send each token's log probability. Else ignored."
    )
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS), Whole] | None = Field(
        None, description=f"How many alternatives of each token to send, with `{LOGPROBS}`."
    )
    user: str | None = Field(
        None, max_length=NAME_MAX_CHARS, description="The user; the requests of users take turns."
    )
