"""The answers of the OpenAPI document: those that went well, streams of events, and refusals."""

from __future__ import annotations

from typing import Any, Final

from routes.openapi_schemas import OPENAI, Schema, ref

Answer = dict[str, Any]

_REFUSALS: Final = {
    400: "A field or the body is not what it must be.",
    401: "The key is missing or wrong.",
    403: "A page of another site asks, or the host name is not one of this server's.",
    404: "What is named is not here.",
    409: "It cannot be done as things are.",
    413: "More bytes, pixels or parts than are taken.",
    415: "The body is of a kind that is not taken.",
    431: "The address and the headers are longer than 32 KiB.",
    500: "Something went wrong on the server; its log tells what.",
    502: "The server that runs the model answers what cannot be understood.",
    503: "Not now: the model is loading, or it failed to load, or too many wait.",
    504: "The server that runs the model takes too long.",
}
_ANYWHERE: Final = (403, 431, 500)
_RETRY_AFTER: Final = {
    "description": "In so many seconds it may go better. Absent where waiting does not help.",
    "schema": {"type": "integer", "minimum": 1},
}


def answer(description: str, schema: Schema, media_type: str = "application/json") -> Answer:
    """One that went well."""
    return {"description": description, "content": {media_type: {"schema": schema}}}


def events(description: str, *forms: Schema) -> Answer:
    """A stream of events, each of one of `forms`."""
    return {
        "description": description,
        "content": {"text/event-stream": {"itemSchema": {"type": "object", "anyOf": list(forms)}}},
    }


def event(data: Schema, name: str | None = None) -> Schema:
    """An event of a stream, with `data` as JSON."""
    text = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    form: Schema = {"properties": {"data": text}, "required": ["data"]}
    if name is not None:
        form["properties"]["event"] = {"const": name}
        form["required"] = ["event", "data"]
    return form


def refusals(*statuses: int, openai: bool = False) -> dict[str, Answer]:
    """What may be answered with an error: `statuses`, and those that any route may give."""
    form = f"{OPENAI}ErrorAnswer" if openai else "Error"
    found = {}
    for status in sorted({*statuses, *_ANYWHERE}):
        found[str(status)] = answer(_REFUSALS[status], ref(form))
        if status == 503:
            found["503"]["headers"] = {"Retry-After": _RETRY_AFTER}
    return found
