"""Read a body of JSON: bytes to values, values to the checked fields of a class.

Every refusal is a FieldError with the path of the wrong field.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from web.errors import FieldError

# Commas and opening brackets of a body: far more than a request within the other bounds has. Each
# may cost the parser a hundred bytes.
MAX_VALUES: Final = 50_000
# Of lists and objects in each other. Python's own bound differs: 1,000 in 3.11, over 10,000
# in 3.14.
MAX_DEPTH: Final = 100

MISSING: Final = "missing_required_parameter"
UNSUPPORTED: Final = "unsupported_value"

_TOO_DEEP: Final = f"The body is nested too deeply: at most {MAX_DEPTH} levels are accepted."
_INVALID_JSON: Final = "invalid_json"
_FIELD_SHOWN_CHARS: Final = 64
# From pydantic's error types to OpenAI's codes.
_CODES: Final = {"missing": MISSING, "union_tag_not_found": MISSING}

Path = Sequence[int | str]
Body = TypeVar("Body", bound=BaseModel)


def read_fields(
    data: bytes, body_class: type[Body], why_refused: Callable[[Path], str | None]
) -> Body:
    """Return the checked fields of `data`; raises FieldError for the first wrong field.

    `why_refused` returns what is said of a field that only a neutral value may have, None for
    others.
    """
    body = read_json(data)
    try:
        return body_class.model_validate(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    raise _field_error(details[0], body, why_refused)


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


def _field_error(
    details: ErrorDetails, body: object, why_refused: Callable[[Path], str | None]
) -> FieldError:
    kind = details["type"]
    path = _path(details["loc"], body, kind == "missing")
    context = details.get("ctx", {})
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        path = [*path, context["discriminator"].strip("'")]
    field = _field(path)
    refused = why_refused(path)
    if refused is not None:
        return FieldError(f"`{field}` cannot be used here. {refused}", field, UNSUPPORTED)
    code = _CODES.get(kind, "invalid_type" if kind.endswith("_type") else "invalid_value")
    return FieldError(f"`{field}` {_complaint(kind, details['msg'], context)}", field, code)


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


def _field(path: Path) -> str:
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
