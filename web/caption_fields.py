"""The fields of a caption request beside the image.

Each is declared once, in JSON Schema: `read_caption_fields` checks requests by it, and the OpenAPI
document shows it. (Not by pydantic, whose import would delay the first caption by 0.3 s.)
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, cast, get_args

from werkzeug.datastructures import MultiDict

from vlm.errors import BadRequestError
from vlm.prompts import (
    CHAT_MAX_CHARS,
    DEFAULT_PROMPT,
    PRESETS,
    PROMPT_MAX_CHARS,
    READ_PRESET,
    TEXT_PATTERN,
    checked_prompt,
    clean_text,
)
from vlm.settings import MAX_TOKENS_LIMIT
from vlm.types import ClaimCheck, Detail, Exchange, Explain, Kind, Reading
from web.turns import TURNS_FIELD, read_turns

CAMERA_MAX_CHARS: Final = 64
SOURCE_MAX_CHARS: Final = 200
MAX_ALTERNATIVES: Final = 5

_CAMERA_RULE: Final = f"1 to {CAMERA_MAX_CHARS} letters, digits, dots, dashes or underscores"

FIELDS: Final[dict[str, dict[str, Any]]] = {
    "prompt": {
        "type": "string",
        "maxLength": PROMPT_MAX_CHARS,
        "pattern": TEXT_PATTERN,
        "default": DEFAULT_PROMPT,
        "description": "The question about the image. Blank: the default.",
    },
    "preset": {
        "enum": [preset.id for preset in PRESETS],
        "description": "A common question, in place of `prompt`.",
    },
    "max_tokens": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_TOKENS_LIMIT,
        "description": "The most tokens of the caption. Of a live frame that leaves it open, the "
        "server may choose fewer.",
    },
    "detail": {
        "enum": list(get_args(Detail)),
        "default": "low",
        "description": "`low`: the image as one tile. `small`, `tiny`: as one of three quarters or "
        "half of its side, faster. `high`: the model's own tiling, slower, for small things. Of a "
        "live frame that leaves it open, the server chooses the tile's side.",
    },
    "reading": {
        "enum": list(get_args(Reading)),
        "description": "Who reads the text in the image: the reader, the model, or the model with "
        "the reader's lines in its prompt. Absent: `reader` for the preset `read`, else `both` for "
        "a question about text.",
    },
    "stop_loops": {
        "enum": ["0", "1"],
        "default": "1",
        "description": "`1`: a caption ends before a sentence, or six words, come for the third "
        "time, with the `finish_reason` `loop`. `0`: it goes on.",
    },
    "sure": {
        "enum": ["0", "1"],
        "default": "0",
        "description": "`1`: `done` says how sure the model is of the answer and of each word, "
        "with what it would have said in its place.",
    },
    "explain": {
        "enum": list(get_args(Explain)),
        "default": "0",
        "description": "`1`: before `done` an event `looks` says what each word of the answer "
        "looked at. `estimate`: the same for models whose attention is not known, by asking 16 "
        "times more with parts of the image painted over. It is absent if the model did not make "
        "the text.",
    },
    "claims": {
        "enum": list(get_args(ClaimCheck)),
        "default": "off",
        "description": "`mark`: the model is asked whether each thing that the caption names is "
        "there, and `stats.claims` has the answers. `strict`: things that it then denies are left "
        "out, and the caption comes as a whole.",
    },
    "turns": TURNS_FIELD,
    "begin": {
        "type": "string",
        "maxLength": CHAT_MAX_CHARS,
        "pattern": TEXT_PATTERN,
        "description": "The answer goes on from this text, as if the model had written it. Only "
        "what is new is returned.",
    },
    "alternatives": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_ALTERNATIVES,
        "default": 0,
        "description": "`done` has each token of the answer with so many others that the model "
        "found likeliest in its place. The model itself answers.",
    },
    "camera": {
        "type": "string",
        "pattern": rf"^[A-Za-z0-9._-]{{1,{CAMERA_MAX_CHARS}}}$",
        "description": f"The name of the camera, {_CAMERA_RULE}. Cameras take turns.",
    },
    "source": {
        "type": "string",
        "maxLength": SOURCE_MAX_CHARS,
        "pattern": TEXT_PATTERN,
        "description": "What the camera is, in words, such as `Front door`. For the timeline.",
    },
    "kind": {
        "enum": ["live", "question"],
        "description": "`live`: a frame that a newer one of the same camera replaces while it "
        "waits. `question`: goes before live frames and is never replaced. Absent: `live` if a "
        "camera is named.",
    },
}


# Who reads the text for a preset, if the field `reading` is absent.
_READER_OF: Final[dict[str | None, Reading]] = {READ_PRESET: "reader"}


class CaptionFields(NamedTuple):
    """The checked fields of one request."""

    prompt: str
    max_tokens: int | None
    """None: the request leaves it open."""
    detail: Detail | None
    """As `max_tokens`."""
    reading: Reading | None
    stop_loops: bool
    sure: bool
    explain: Explain
    claims: ClaimCheck
    turns: tuple[Exchange, ...]
    begin: str
    """Empty: the answer is a new one."""
    alternatives: int
    camera: str | None
    source: str
    """Empty if unknown."""
    kind: Kind


def caption_fields(max_tokens: int) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each field; `max_tokens` is the server's default."""
    return {**FIELDS, "max_tokens": FIELDS["max_tokens"] | {"default": max_tokens}}


def read_caption_fields(values: MultiDict[str, str]) -> CaptionFields:
    """Return the first value of each field, or its default; raises BadRequestError.

    All values of a field are checked: a wrong one is a mistake even if it has no effect.
    """
    found: dict[str, str] = {}
    for name in FIELDS:
        for text in reversed(values.getlist(name)):
            found[name] = checked_field(name, text)
    camera, kind = found.get("camera"), cast("Kind | None", found.get("kind"))
    if kind == "live" and camera is None:
        raise BadRequestError("kind=live is for frames of a camera: name it in the field `camera`.")
    is_live = kind == "live" or (kind is None and camera is not None)
    if is_live and found.get("explain") == "estimate":
        raise BadRequestError("explain=estimate is for questions: send kind=question.")
    preset = next((each for each in PRESETS if each.id == found.get("preset")), None)
    return CaptionFields(
        prompt=preset.prompt if preset else found.get("prompt", DEFAULT_PROMPT),
        max_tokens=int(found["max_tokens"]) if "max_tokens" in found else None,
        detail=cast("Detail | None", found.get("detail")),
        reading=cast("Reading | None", found.get("reading", _READER_OF.get(found.get("preset")))),
        stop_loops=found.get("stop_loops", FIELDS["stop_loops"]["default"]) == "1",
        sure=found.get("sure") == "1",
        explain=cast("Explain", found.get("explain", FIELDS["explain"]["default"])),
        claims=cast("ClaimCheck", found.get("claims", FIELDS["claims"]["default"])),
        turns=read_turns(found.get("turns", FIELDS["turns"]["default"])),
        begin=found.get("begin", ""),
        alternatives=int(found.get("alternatives", 0)),
        camera=camera,
        source=found.get("source", ""),
        kind=kind or ("question" if camera is None else "live"),
    )


def checked_field(name: str, text: str) -> str:
    """Return `text` if the schema of the field allows it; raises BadRequestError with the range."""
    schema = FIELDS[name]
    if name == "prompt":
        return checked_prompt(text)
    if name == "begin":
        # A word is tokenised with the blank before it, so the next one brings its own.
        return clean_text(text).lstrip().rstrip(" ")
    if name == "source":
        if len(text) > SOURCE_MAX_CHARS:
            raise BadRequestError(f"source has at most {SOURCE_MAX_CHARS} characters.")
        return clean_text(text).strip()
    if name == "turns":
        read_turns(text)
        return text
    if "enum" in schema:
        is_valid, rule = text in schema["enum"], f"one of: {', '.join(schema['enum'])}"
    elif schema["type"] == "integer":
        low, high = schema["minimum"], schema["maximum"]
        # isdecimal alone accepts the digits of other scripts, and int() accepts "1_0".
        is_number = text.isascii() and text.isdecimal() and len(text) < 10
        is_valid = is_number and low <= int(text) <= high
        rule = f"a whole number from {low} to {high}"
    else:
        is_valid, rule = re.fullmatch(schema["pattern"], text) is not None, _CAMERA_RULE
    if not is_valid:
        raise BadRequestError(f"{name} must be {rule}.")
    return text
