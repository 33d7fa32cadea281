"""Types of fields that chats of all APIs have, their bounds, and what is made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Final

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
from vlm.prompts import CHAT_MAX_CHARS, TEXT_PATTERN, clean_text
from vlm.types import Role
from web.errors import FieldError

MAX_MESSAGES: Final = 256
# Of a message; also calls of tools in a message.
MAX_PARTS: Final = 256
MAX_STOPS: Final = 16
MAX_TOP_LOGPROBS: Final = 20
NAME_MAX_CHARS: Final = 256
# Of all texts of a request. The model's thread tokenises them, in a fifth of a second at most; no
# model here has room for more.
MAX_CHARS_TOGETHER: Final = 128_000

# Random generators accept no negative seed.
_SEED_BITS: Final = 2**63 - 1
_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
}


def is_none(value: object) -> bool:
    """Return whether a field is left out of an answer."""
    return value is None


class ChatPart(BaseModel):
    """A part of a request. Fields that it does not name are ignored, and named in the answer."""

    model_config = ConfigDict(
        strict=True, extra="allow", allow_inf_nan=False, frozen=True, defer_build=True
    )


def _checked(text: str) -> str:
    try:
        return clean_text(text)
    except BadRequestError as error:
        raise PydanticCustomError("text", "{reason}", {"reason": str(error)}) from None


def _whole(value: object) -> object:
    """Return 64 for 64.0: JSON has one kind of number."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def form_of(value: object) -> str:
    """Return the tag of a value that is a text, or else a list or an object of parts."""
    return "string" if isinstance(value, str) else "parts"


Whole = BeforeValidator(_whole)
Penalty = Annotated[float, Field(ge=-2, le=2)]
RepetitionFactor = Annotated[float, Field(ge=0.1, le=10)]

Text = Annotated[
    str,
    Field(max_length=CHAT_MAX_CHARS, json_schema_extra={"pattern": TEXT_PATTERN}),
    AfterValidator(_checked),
]

StopText = Annotated[str, Field(min_length=1, max_length=NAME_MAX_CHARS)]
Stop = Annotated[
    Annotated[StopText, Tag("string")]
    | Annotated[Annotated[list[StopText], Field(max_length=MAX_STOPS)], Tag("parts")],
    Discriminator(form_of),
]


class FunctionCall(ChatPart):
    """A function that an earlier answer called."""

    name: str = Field(max_length=NAME_MAX_CHARS)
    arguments: Any = ""


class ToolCall(ChatPart):
    """A tool that an earlier answer called."""

    id: Any = None
    type: Any = None
    function: FunctionCall | None = None


def check_texts(texts: Iterable[str], param: str) -> None:
    """Raise FieldError for the field `param` if `texts` are too long together."""
    if sum(map(len, texts)) > MAX_CHARS_TOGETHER:
        raise FieldError(
            f"The texts of `{param}` have more than {MAX_CHARS_TOGETHER:,} characters together, "
            "the most that are accepted.",
            param,
        )


def written_calls(calls: Iterable[ToolCall]) -> list[str]:
    """Return earlier calls of tools as a model reads them: `name(arguments)`."""
    return [written_call(call.function) for call in calls if call.function is not None]


def written_call(call: FunctionCall) -> str:
    """Return an earlier call of a function as a model reads it: `name(arguments)`."""
    arguments = call.arguments
    return f"{call.name}({arguments if isinstance(arguments, str) else json.dumps(arguments)})"


def role_of(name: str) -> Role:
    """Return the role of a turn of role `name`: results of tools are read as the user's words."""
    return _ROLES.get(name, "user")


def seed_of(seed: int | None) -> int | None:
    """Return a seed that random generators accept."""
    return None if seed is None else seed & _SEED_BITS
