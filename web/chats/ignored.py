"""The fields of a chat request that had no effect, by name: they are ignored, never refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import BaseModel

_MAX_NAMES: Final = 32
_NAME_MAX_CHARS: Final = 64
# A name stands in a header, between commas.
_UNSAFE: Final = re.compile(r"[^!-+\--~]")


def ignored_fields(body: BaseModel, more: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the names of fields that `body` has and no class describes, and `more`.

    Sorted, each name once and without positions (`messages.content.cache_control`). Null, false, 0
    and what is empty ask for nothing and are left out.
    """
    names = sorted({*_unknown(body, ""), *more})
    return tuple(names[:_MAX_NAMES]) + (("...",) if len(names) > _MAX_NAMES else ())


def _unknown(part: BaseModel, start: str) -> Iterator[str]:
    for name, value in (part.model_extra or {}).items():
        if value:
            yield start + (_UNSAFE.sub("", name[:_NAME_MAX_CHARS]) or "?")
    for name in type(part).model_fields:
        value = getattr(part, name)
        for inner in value if isinstance(value, list) else (value,):
            if isinstance(inner, BaseModel):
                yield from _unknown(inner, f"{start}{name}.")
