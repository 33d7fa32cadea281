"""Read the body of a chat request: bytes to JSON, JSON to checked fields, fields to a Request.

Every refusal is a FieldError with the path of the wrong field.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from PIL import Image
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from vlm.types import ANSWER_MAX_TOKENS, AnswerTask, Message, Request, Role, Sampling
from web.errors import FieldError
from web.openai.forms import asked_form
from web.openai.ignored import ignored_fields
from web.openai.images import ImageReader
from web.openai.schema import (
    ChatCompletionRequest,
    ChatMessage,
    FunctionCall,
    ImagePart,
    RefusedFields,
    StructuredOutputs,
)

# Commas and opening brackets of a body: far more than a request within the other bounds has. Each
# may cost the parser a hundred bytes.
MAX_VALUES: Final = 50_000
# Of lists and objects in each other. Python's own bound differs: 1,000 in 3.11, over 10,000
# in 3.14.
MAX_DEPTH: Final = 100
# Of all texts of a request. The model's thread tokenises them, in a fifth of a second at most; no
# model here has room for more.
MAX_CHARS_TOGETHER: Final = 128_000

_TOO_DEEP: Final = f"The body is nested too deeply: at most {MAX_DEPTH} levels are accepted."
_INVALID_JSON: Final = "invalid_json"
_FIELD_SHOWN_CHARS: Final = 64
# Random generators accept no negative seed.
_SEED_BITS: Final = 2**63 - 1
# From pydantic's error types to OpenAI's codes.
_CODES: Final = {
    "missing": "missing_required_parameter",
    "union_tag_not_found": "missing_required_parameter",
}
_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
}


def read_chat_body(data: bytes) -> ChatCompletionRequest:
    """Return the checked fields of `data`; raises FieldError for the first wrong field."""
    body = read_json(data)
    try:
        return ChatCompletionRequest.model_validate(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    raise _field_error(details[0], body)


def read_json(data: bytes) -> object:
    """Return the value of the JSON in `data`; raises FieldError.

    Refuses what other parsers may read differently (not UTF-8, NaN, a name twice in one object),
    and what costs too much (depth, number of values).
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise FieldError(
            f"The body has more than {MAX_VALUES:,} commas and opening brackets, the most that are "
            "accepted.",
            None,
            _INVALID_JSON,
        )
    try:
        body: object = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object_of_unique_names,
            parse_constant=_refuse_constant,
        )
        if not _is_deep(body):
            return body
        message = _TOO_DEEP
    except UnicodeDecodeError:
        message = "The body is not UTF-8."
    except json.JSONDecodeError as error:
        message = f"The body is not JSON: {error.msg} at character {error.pos}."
    except ValueError:
        message = "The body has a number with too many digits."
    except RecursionError:
        message = _TOO_DEEP
    raise FieldError(message, None, _INVALID_JSON)


def _is_deep(value: object) -> bool:
    """Return whether lists and objects are nested deeper than MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(inner, list | dict) for inner in level)


def _object_of_unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = _shown(next(name for name, count in counts.items() if count > 1))
        raise FieldError(f"`{twice}` occurs more than once in one object.", twice, _INVALID_JSON)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise FieldError(f"The body is not JSON: it has no number {name}.", None, _INVALID_JSON)


def _field_error(details: ErrorDetails, body: object) -> FieldError:
    kind = details["type"]
    path = _path(details["loc"], body, kind == "missing")
    context = details.get("ctx", {})
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        path = [*path, context["discriminator"].strip("'")]
    field = _field(path)
    refused = _refused_field(path)
    if refused is not None:
        described = refused.description
        return FieldError(f"`{field}` cannot be used here. {described}", field, "unsupported_value")
    code = _CODES.get(kind, "invalid_type" if kind.endswith("_type") else "invalid_value")
    return FieldError(f"`{field}` {_complaint(kind, details['msg'], context)}", field, code)


def _refused_field(path: Sequence[int | str]) -> FieldInfo | None:
    """Return the field at the start of `path` if it is one that only a neutral value may have."""
    if path[:1] == ["structured_outputs"] and path[1:2] in (["grammar"], ["structural_tag"]):
        return StructuredOutputs.model_fields[str(path[1])]
    return RefusedFields.model_fields.get(str(path[0])) if path else None


def _complaint(kind: str, message: str, context: dict[str, Any]) -> str:
    if kind in ("missing", "union_tag_not_found"):
        return "is missing."
    if kind == "union_tag_invalid":
        return f"must be one of {context['expected_tags']}."
    if kind == "model_type":
        return "must be an object."
    if kind == "limit":
        return f"{message}."
    for start in ("Input should", "String should", "List should", "Dictionary should"):
        if message.startswith(start):
            return f"must{message.removeprefix(start).replace(' after validation', '')}."
    return f"is refused: {message.rstrip('.')}."


def _path(location: Sequence[int | str], body: object, last_is_missing: bool) -> list[int | str]:
    """Return the steps from `body` to the field: `location` without pydantic's own names."""
    path: list[int | str] = []
    here: Any = body
    for number, step in enumerate(location):
        if isinstance(step, int) or (isinstance(here, dict) and step in here):
            here = here[step]
        elif not (last_is_missing and number == len(location) - 1):
            continue
        path.append(step)
    return path


def _field(path: Sequence[int | str]) -> str:
    """Return `path` as OpenAI writes it: `messages[0].content[1].image_url.url`."""
    written = ""
    for step in path:
        if isinstance(step, int):
            written += f"[{step}]"
        else:
            written += f".{_shown(step)}" if written else _shown(step)
    return written or "body"


def _shown(name: str) -> str:
    """Return a client's field name, cut, without unprintable characters."""
    return "".join(char for char in name[:_FIELD_SHOWN_CHARS] if char.isprintable())


@dataclass(frozen=True)
class ChatRequest:
    """A chat that was read."""

    request: Request
    ignored: tuple[str, ...]
    """Names of fields that have no effect."""
    tool: str | None
    """The name of the tool whose arguments are the answer."""


def chat_request(
    body: ChatCompletionRequest, is_cancelled: Callable[[], bool] = lambda: False
) -> ChatRequest:
    """Return what `body` demands, with all images decoded.

    Raises FieldError, what `decode_image` does if `is_cancelled`, and BusyError.
    """
    if body.top_logprobs and not body.logprobs:
        raise FieldError("`top_logprobs` needs `logprobs` to be true.", "top_logprobs")
    _check_texts(body)
    asked = asked_form(body)
    images = ImageReader(is_cancelled)
    messages = tuple(
        _message(message, f"messages[{index}]", images)
        for index, message in enumerate(body.messages)
    )
    given = (body.max_completion_tokens, body.max_tokens)
    limits = [limit for limit in given if limit is not None and limit > 0]
    stop = body.stop or ()
    task = AnswerTask(
        messages,
        max_tokens=min([*limits, ANSWER_MAX_TOKENS]),
        detail=images.detail,
        sampling=_sampling(body),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        json_object=asked.json_object,
        form=asked.form,
        stop_loops=not limits if body.stop_loops is None else body.stop_loops,
    )
    ignored = ignored_fields(body, [*asked.ignored, *images.ignored])
    return ChatRequest(Request(task, camera=body.user), ignored, asked.tool)


def _sampling(body: ChatCompletionRequest) -> Sampling:
    return Sampling(
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=None if body.seed is None else body.seed & _SEED_BITS,
        top_k=max(body.top_k or 0, 0),
        min_p=body.min_p or 0.0,
        repetition_penalty=body.repetition_penalty or body.repeat_penalty or 1.0,
        presence_penalty=body.presence_penalty or 0.0,
        frequency_penalty=body.frequency_penalty or 0.0,
        logit_bias=tuple((int(token), bias) for token, bias in (body.logit_bias or {}).items()),
    )


def _check_texts(body: ChatCompletionRequest) -> None:
    chars = 0
    for message in body.messages:
        content = message.content or ()
        parts = [content] if isinstance(content, str) else content
        texts = (part if isinstance(part, str) else getattr(part, "text", "") for part in parts)
        chars += sum(len(text) for text in texts)
    if chars > MAX_CHARS_TOGETHER:
        raise FieldError(
            f"The texts of `messages` have more than {MAX_CHARS_TOGETHER:,} characters together, "
            "the most that are accepted.",
            "messages",
        )


def _message(message: ChatMessage, param: str, images: ImageReader) -> Message:
    """Return one turn; an earlier call of a tool is written as `name(arguments)`."""
    parts: list[str | Image.Image] = []
    if message.image_url is not None:
        parts.append(images.read(message.image_url, None, f"{param}.image_url"))
    content = message.content
    if isinstance(content, str):
        parts.append(content)
    elif content is not None:
        parts += [
            images.read(part.image_url, part.detail, f"{param}.content[{index}].image_url")
            if isinstance(part, ImagePart)
            else part.text
            for index, part in enumerate(content)
        ]
    elif "content" not in message.model_fields_set and message.role != "assistant" and not parts:
        field = f"{param}.content"
        raise FieldError(f"`{field}` is missing.", field, _CODES["missing"])
    calls = [call.function for call in message.tool_calls or () if call.function is not None]
    parts += [f"{call.name}({_arguments(call)})" for call in calls]
    return Message(_ROLES.get(message.role, "user"), tuple(parts) or ("",))


def _arguments(call: FunctionCall) -> str:
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)
