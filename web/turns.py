"""The field `turns` of a caption request: earlier questions about the picture, with answers."""

from __future__ import annotations

import json
from typing import Any, Final

from vlm.errors import BadRequestError
from vlm.prompts import CHAT_MAX_CHARS, PROMPT_MAX_CHARS, clean_text
from vlm.types import Exchange

MAX_TURNS: Final = 8

_TEXT_OF: Final[dict[str, dict[str, Any]]] = {
    "question": {"type": "string", "minLength": 1, "maxLength": PROMPT_MAX_CHARS},
    "answer": {"type": "string", "minLength": 1, "maxLength": CHAT_MAX_CHARS},
}
TURNS_FIELD: Final[dict[str, Any]] = {
    "type": "string",
    "default": "[]",
    "contentMediaType": "application/json",
    "contentSchema": {
        "type": "array",
        "maxItems": MAX_TURNS,
        "items": {"type": "object", "properties": _TEXT_OF, "required": [*_TEXT_OF]},
    },
    "description": f"Earlier questions about the same image with their answers, the oldest first, "
    f"at most {MAX_TURNS}, as a JSON list. The image is encoded once for all.",
}
_RULE: Final = (
    f'a JSON list of at most {MAX_TURNS} objects, such as [{{"question": "Is there a dog?", '
    '"answer": "Yes."}}]'
)


def read_turns(text: str) -> tuple[Exchange, ...]:
    """Return the turns that `text` lists; raises BadRequestError that says what is wrong."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        raise BadRequestError(f"turns must be {_RULE}.") from None
    if not isinstance(listed, list):
        raise BadRequestError(f"turns must be {_RULE}.")
    if len(listed) > MAX_TURNS:
        raise BadRequestError(
            f"turns has {len(listed)} questions; at most {MAX_TURNS} are taken. "
            "Leave out the oldest."
        )
    return tuple(_read_turn(each, index) for index, each in enumerate(listed))


def _read_turn(value: object, index: int) -> Exchange:
    found = value if isinstance(value, dict) else {}
    texts = []
    for name, schema in _TEXT_OF.items():
        text = found.get(name)
        longest = schema["maxLength"]
        if not isinstance(text, str) or not 0 < len(text) <= longest:
            raise BadRequestError(
                f"turns[{index}].{name} must be a text of 1 to {longest} characters."
            )
        try:
            texts.append(clean_text(text))
        except BadRequestError as error:
            raise BadRequestError(f"turns[{index}].{name}: {error}") from None
    return Exchange(*texts)
