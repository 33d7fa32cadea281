"""JSON schemas made narrower, so that a small model ends its answer.

What fits the narrower schema fits the original. llama.cpp and xgrammar close objects, too.
"""

from __future__ import annotations

from typing import Any, Final

# The largest whole numbers that all programs read exactly (RFC 8259, section 6). Without bounds a
# model may write digits without end.
_MAX_NUMBER: Final = 2**53 - 1
_NUMBERS: Final = ("integer", "number")
# Their values are data.
_DATA: Final = ("const", "enum", "default", "examples")
# Their values are schemas by name.
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions")
_COMBINING: Final = ("allOf", "anyOf", "oneOf", "$ref")
_OPEN: Final = ("additionalProperties", "unevaluatedProperties", "patternProperties")


def narrowed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema` with bounds for numbers, and without properties that it does not name.

    What says `additionalProperties` keeps it. Objects stay open if some are combined of several
    schemas, since none of those names all properties.
    """
    made: dict[str, Any] = _narrowed(schema, closes=not _combines_objects(schema))
    return made


def _combines_objects(node: Any) -> bool:
    if isinstance(node, list):
        return any(map(_combines_objects, node))
    if not isinstance(node, dict):
        return False
    several = node.get("allOf")
    if isinstance(several, list) and len(several) > 1:
        return True
    if "properties" in node and any(name in node for name in _COMBINING):
        return True
    return any(_combines_objects(value) for name, value in node.items() if name not in _DATA)


def _narrowed(node: Any, closes: bool) -> Any:
    if isinstance(node, list):
        return [_narrowed(each, closes) for each in node]
    if not isinstance(node, dict):
        return node
    made: dict[str, Any] = {}
    for name, value in node.items():
        if name in _DATA:
            made[name] = value
        elif name in _NAMED and isinstance(value, dict):
            made[name] = {key: _narrowed(each, closes) for key, each in value.items()}
        else:
            made[name] = _narrowed(value, closes)
    if closes and _names_all(made):
        made["additionalProperties"] = False
    if _is_number(made):
        _bound(made)
    return made


def _names_all(node: dict[str, Any]) -> bool:
    """Return whether an object needs no other properties than those that `node` names."""
    named = node.get("properties")
    if not isinstance(named, dict) or any(name in node for name in _OPEN):
        return False
    required, least = node.get("required", []), node.get("minProperties", 0)
    return (
        isinstance(required, list)
        and all(isinstance(name, str) and name in named for name in required)
        and isinstance(least, int)
        and least <= len(named)
    )


def _is_number(node: dict[str, Any]) -> bool:
    kinds = node.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return "enum" not in node and "const" not in node and any(each in _NUMBERS for each in kinds)


def _bound(node: dict[str, Any]) -> None:
    lower = [node[name] for name in ("minimum", "exclusiveMinimum") if name in node]
    upper = [node[name] for name in ("maximum", "exclusiveMaximum") if name in node]
    given = [*lower, *upper]
    if not all(isinstance(each, int | float) and abs(each) < _MAX_NUMBER for each in given):
        return
    if not lower:
        node["minimum"] = -_MAX_NUMBER
    if not upper:
        node["maximum"] = _MAX_NUMBER
