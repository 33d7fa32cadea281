"""The fields and answers of the timeline's routes in JSON Schema.

By hand: `from` is a field of most of them, and no name of a class can have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vlm.timeline.choices import DAYS, KEEPS, LEAST_MB, MOST_MB
from vlm.timeline.database import GAP_REASONS
from vlm.timeline.exports import FORMATS
from vlm.timeline.query import DEFAULT_MOMENTS, MOST_MOMENTS, QUERY_MAX_CHARS, Query
from web.field_reader import NAME_MAX_CHARS, FieldReader, Schema

KINDS: Final = ("caption", "answer", "alert")
# How a question is answered: by what captions name, by a model over moments, or not at all.
PLANS: Final = ("when", "first", "last", "often", "long", "many", "recall", "nothing")
# A few thousand years.
MOST_TIME_S: Final = 100_000_000_000
# Whole numbers that JavaScript can have.
MOST_ID: Final = 2**53 - 1

_CURSOR_PATTERN: Final = r"^[0-9a-z_.-]{0,64}$"


def _object(properties: Schema, description: str = "") -> Schema:
    made: Schema = {"type": "object", "properties": properties, "required": [*properties]}
    return made | ({"description": description} if description else {})


def _list(of: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{of}"}}


def _time(description: str) -> Schema:
    return {
        "type": "number",
        "minimum": 0,
        "maximum": MOST_TIME_S,
        "description": f"{description}, in seconds since 1970.",
    }


_TEXT: Final = {"type": "string"}
_NAME: Final = {"type": "string", "maxLength": NAME_MAX_CHARS}
_COUNT: Final = {"type": "integer", "minimum": 0}
_NULL: Final = {"type": "null"}

# -- what requests have --

RANGE_FIELDS: Final[Mapping[str, Schema]] = {
    "from": _time("Moments that end at this time or later"),
    "to": _time("Moments that begin before this time"),
}
FILTER_FIELDS: Final[Mapping[str, Schema]] = {
    "q": {
        "type": "string",
        "maxLength": QUERY_MAX_CHARS,
        "description": 'Words, "quoted phrases" and -words that must not occur. Blank: all, the '
        "newest first; else the best first.",
    },
    **RANGE_FIELDS,
    "camera": _NAME | {"description": "The name of a camera or of a source."},
    "kind": {"enum": list(KINDS)},
    "tag": _NAME | {"description": "A word of the moment's tags."},
    "min_sure": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "Only moments of which the model was at least so sure.",
    },
    "kept": {"enum": ["0", "1"], "description": "`1`: only moments that a person keeps."},
}
SEARCH_FIELDS: Final[Mapping[str, Schema]] = {
    **FILTER_FIELDS,
    "like": {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_ID,
        "description": "The id of a moment: only those whose pictures are like its picture, the "
        "most like first, on one page. `q` does not count then.",
    },
    "limit": {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_MOMENTS,
        "default": DEFAULT_MOMENTS,
    },
    "before": {
        "type": "string",
        "pattern": _CURSOR_PATTERN,
        "description": "`before` of the last answer, for the next page.",
    },
}
EXPORT_FIELDS: Final[Mapping[str, Schema]] = {
    "format": {
        "enum": [*FORMATS],
        "default": "txt",
        "description": "`jsonl` can be imported again; `report` is a page about the time from "
        "`from` to `to`, else about today.",
    },
    **FILTER_FIELDS,
}
DAYS_FIELDS: Final[Mapping[str, Schema]] = {**RANGE_FIELDS, "camera": FILTER_FIELDS["camera"]}
ASK_BODY: Final[Schema] = {
    "type": "object",
    "properties": {
        "question": {
            "type": "string",
            "minLength": 1,
            "maxLength": QUERY_MAX_CHARS,
            "pattern": r"\S",
            "description": "In English.",
        },
        **DAYS_FIELDS,
    },
    "required": ["question"],
}
SETTINGS_BODY: Final[Schema] = {
    "type": "object",
    "properties": {
        "keep": {"enum": list(KEEPS)},
        "days": {"enum": list(DAYS), "description": "0: whatever the age."},
        "mb": {"type": "integer", "minimum": LEAST_MB, "maximum": MOST_MB},
    },
}
GAP_BODY: Final[Schema] = {
    "type": "object",
    "properties": {
        "camera": _NAME | {"minLength": 1},
        "source": _NAME,
        "why": {"enum": list(GAP_REASONS)},
        "from": _time("The begin; absent: now"),
        "to": _time("The end; absent: the camera's next caption"),
    },
    "required": ["camera", "why"],
}
KEEP_BODY: Final[Schema] = {"type": "object", "properties": {"kept": {"type": "boolean"}}}
UNDO_BODY: Final[Schema] = {
    "type": "object",
    "properties": {
        "deletion": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST_ID,
            "description": "The number of a deletion. Absent: the last one.",
        }
    },
}

# -- what answers have --

_WHY: Final = _object(
    {
        "words": {"type": "array", "items": _TEXT, "description": "Its words that match."},
        "similarity": {
            "anyOf": [{"type": "number"}, _NULL],
            "description": "The cosine of the query and the picture; null without one.",
        },
    }
)
_MOMENT: Final = _object(
    {
        "id": _COUNT,
        "from": _time("The first look"),
        "to": _time("The last look"),
        "kind": {"enum": list(KINDS)},
        "camera": _TEXT,
        "source": _TEXT,
        "model": _TEXT,
        "question": _TEXT,
        "text": _TEXT,
        "sure": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, _NULL]},
        "tags": {"type": "array", "items": _TEXT},
        "finish": _TEXT,
        "kept": {"type": "boolean", "description": "Whether it is never too old or too much."},
        "picture": {"type": "boolean", "description": "Whether it has a small picture."},
        "why": {"anyOf": [_WHY, _NULL], "description": "Null if no words were looked for."},
    }
)
_GAP: Final = _object(
    {
        "from": _time("The begin"),
        "to": {"anyOf": [{"type": "number"}, _NULL], "description": "Null while it lasts."},
        "camera": _TEXT,
        "source": _TEXT,
        "why": {"enum": list(GAP_REASONS)},
    },
    "A time without captions.",
)
TIMELINE_SCHEMAS: Final[Mapping[str, Schema]] = {
    "Moment": _MOMENT,
    "Gap": _GAP,
    "Moments": _object(
        {
            "moments": _list("Moment"),
            "gaps": _list("Gap"),
            "more": {"type": "boolean"},
            "before": {"anyOf": [_TEXT, _NULL], "description": "Null if there are no more."},
        }
    ),
    "Days": _object(
        {
            "half_hours": {
                "type": "array",
                "items": _object(
                    {
                        "from": _time("Its begin"),
                        "captions": _COUNT,
                        "answers": _COUNT,
                        "alerts": _COUNT,
                    }
                ),
            },
            "gaps": _list("Gap"),
        }
    ),
    "Deletion": _object(
        {
            "deletion": _COUNT | {"description": "Its number; 0 if nothing was there."},
            "moments": _COUNT,
            "undo_s": {"type": "number", "description": "So long it can be undone."},
        }
    ),
    "Imported": _object(
        {
            "moments": _COUNT,
            "gaps": _COUNT,
            "known": _COUNT | {"description": "Those that were there already."},
        }
    ),
    "Undone": _object({"moments": _COUNT}),
    "Recalled": _object({"plan": {"enum": list(PLANS)}, "moments": _list("Moment")}),
    "TimelineAnswer": _object(
        {
            "text": _TEXT,
            "finish": _TEXT,
            "plan": {"enum": list(PLANS)},
            "sentences": {
                "type": "array",
                "items": _object(
                    {
                        "text": _TEXT,
                        "moments": {
                            "type": "array",
                            "items": _COUNT,
                            "description": "The ids of the moments that it is from.",
                        },
                    }
                ),
            },
            "total_s": {"type": "number", "description": "Seconds from the question to the end."},
        }
    ),
}


def read_query(values: Mapping[str, str], paged: bool = True) -> Query:
    """Return the query of the fields of SEARCH_FIELDS, or FILTER_FIELDS if not `paged`."""
    fields = FieldReader(values, SEARCH_FIELDS if paged else FILTER_FIELDS)
    return Query(
        text=fields.read("q") or "",
        from_s=fields.read("from"),
        to_s=fields.read("to"),
        camera=fields.read("camera") or "",
        kind=fields.read("kind") or "",
        tag=fields.read("tag") or "",
        least_sure=fields.read("min_sure"),
        kept=fields.read("kept") == "1",
        like=fields.read("like") if paged else None,
        limit=(fields.read("limit") if paged else None) or DEFAULT_MOMENTS,
        before=(fields.read("before") if paged else None) or "",
    )
