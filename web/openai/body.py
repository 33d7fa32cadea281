"""From the bytes of a body under /v1 to a checked request; what is wrong is told by its field."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from web.errors import FieldError
from web.openai.schema import ChatCompletionRequest, NeutralFields

# Far more than a request within the bounds has; each one may cost the parser a hundred bytes.
MAX_VALUES: Final = 50_000

_INVALID_JSON: Final = "invalid_json"
_FIELD_SHOWN_CHARS: Final = 64
_CODES: Final = {
    "missing": "missing_required_parameter",
    "union_tag_not_found": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
}


def read_chat_body(data: bytes) -> ChatCompletionRequest:
    """The request that `data` is as JSON; raises FieldError, which names the first wrong field."""
    body = read_json(data)
    try:
        return ChatCompletionRequest.model_validate(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    raise _field_error(details[0], body)


def read_json(data: bytes) -> object:
    """The JSON in `data`, of UTF-8, plain numbers, different names and bounded depth and size.

    Raises FieldError.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise FieldError(
            f"The body has more than {MAX_VALUES:,} commas and opening brackets, the most that are "
            "taken.",
            None,
            _INVALID_JSON,
        )
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object_of_different_names,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError:
        message = "The body is not UTF-8."
    except json.JSONDecodeError as error:
        message = f"The body is not JSON: {error.msg} at character {error.pos}."
    except ValueError:
        message = "The body holds a number with too many digits."
    except RecursionError:
        message = "The body is nested too deeply."
    raise FieldError(message, None, _INVALID_JSON)


def _object_of_different_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = _shown(next(name for name, count in counts.items() if count > 1))
        raise FieldError(f"`{twice}` is there more than once in one object.", twice, _INVALID_JSON)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise FieldError(f"The body is not JSON: {name} is not a number there.", None, _INVALID_JSON)


def _field_error(details: ErrorDetails, body: object) -> FieldError:
    kind = details["type"]
    path = _path(details["loc"], body, kind == "missing")
    context = details.get("ctx", {})
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        path = [*path, context["discriminator"].strip("'")]
    field = _field(path)
    if path and path[0] in NeutralFields.model_fields:
        described = NeutralFields.model_fields[str(path[0])].description
        return FieldError(f"`{field}` cannot be used here. {described}", field, "unsupported_value")
    code = _CODES.get(kind, "invalid_type" if kind.endswith("_type") else "invalid_value")
    return FieldError(f"`{field}` {_complaint(kind, details['msg'], context)}", field, code)


def _complaint(kind: str, message: str, context: dict[str, Any]) -> str:
    if kind in ("missing", "union_tag_not_found"):
        return "is missing."
    if kind == "extra_forbidden":
        return "is not a field that is known here."
    if kind == "union_tag_invalid":
        return f"must be one of {context['expected_tags']}."
    if kind == "model_type":
        return "must be an object."
    if kind == "string_pattern_mismatch":
        return (
            "must be a data URI in base64, such as data:image/jpeg;base64,... Addresses are not "
            "fetched: send the picture itself."
        )
    return f"{_must(message)}."


def _must(message: str) -> str:
    """What pydantic says of a value, put as what the value must be."""
    for start in ("Input should", "String should", "List should", "Dictionary should"):
        if message.startswith(start):
            return "must" + message.removeprefix(start).replace(" after validation", "")
    return f"is refused: {message}"


def _path(location: Sequence[int | str], body: object, last_is_missing: bool) -> list[int | str]:
    """The steps from `body` to the field; `location` has names of pydantic's own among them."""
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
    """As OpenAI writes it: `messages[0].content[1].image_url.url`."""
    written = ""
    for step in path:
        if isinstance(step, int):
            written += f"[{step}]"
        else:
            written += f".{_shown(step)}" if written else _shown(step)
    return written or "body"


def _shown(name: str) -> str:
    """A name that came from outside, cut and without what would not show."""
    return "".join(each for each in name[:_FIELD_SHOWN_CHARS] if each.isprintable())
