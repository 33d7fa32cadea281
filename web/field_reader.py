"""Reads the fields of a query or of a JSON object by their JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from vlm.errors import BadRequestError

Schema = dict[str, Any]

# Of a text whose schema has no bound.
NAME_MAX_CHARS: Final = 200

_NUMBER: Final = re.compile(r"-?\d{1,40}(\.\d{1,40})?(e[+-]?\d{1,3})?", re.IGNORECASE)


class FieldReader:
    """Reads the fields of a query or of a JSON object by their schemas."""

    def __init__(self, values: Mapping[str, Any], schema: Mapping[str, Schema]) -> None:
        self._values = values
        self._schema = schema

    def read(self, name: str) -> Any:
        """Return the value of a field, None if it is absent; raise BadRequestError with the rule.

        An empty field of a query counts as absent, except a text.
        """
        if name not in self._values:
            return None
        schema, value = self._schema[name], self._values[name]
        if value == "" and schema.get("type") != "string":
            return None
        if "enum" in schema:
            # True is 1 to Python.
            if value not in schema["enum"] or isinstance(value, bool):
                raise BadRequestError(f"{name} must be one of: {_listed(schema['enum'])}.")
            return value
        if schema["type"] == "boolean":
            if not isinstance(value, bool):
                raise BadRequestError(f"{name} must be true or false.")
            return value
        if schema["type"] == "string":
            return _text(name, value, schema)
        return _number(name, value, schema)


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, values))


def _text(name: str, value: Any, schema: Schema) -> str:
    longest = schema.get("maxLength", NAME_MAX_CHARS)
    is_text = isinstance(value, str) and schema.get("minLength", 0) <= len(value) <= longest
    if not is_text or not re.search(schema.get("pattern", ""), value):
        raise BadRequestError(f"{name} must be a text of at most {longest} characters.")
    # Lone surrogates cannot be stored.
    return str(value).encode("utf-8", "replace").decode().replace("\0", " ")


def _number(name: str, value: Any, schema: Schema) -> float | int:
    is_whole, low, high = schema["type"] == "integer", schema["minimum"], schema["maximum"]
    number: float | int | None = None
    if isinstance(value, str) and value.isascii() and _NUMBER.fullmatch(value):
        number = float(value) if not is_whole else int(value) if value.isdecimal() else None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        is_right = low <= value <= high and (not is_whole or value == int(value))
        number = (int(value) if is_whole else value) if is_right else None
    if number is None or not low <= number <= high:
        kind = "a whole number" if is_whole else "a number"
        raise BadRequestError(f"{name} must be {kind} from {low} to {high}.")
    return number
