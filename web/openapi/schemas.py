"""The schemas of the OpenAPI document, made from the very classes that are read and answered."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from vlm.models.candidates import ModelsStatus
from vlm.types import Stats
from web.openai import answer_schema
from web.openai import schema as request_schema
from web.status import Status

Schema = dict[str, Any]

# What is of OpenAI's API carries its name: there are choices and models of another kind beside.
OPENAI: Final = "OpenAI"

_REF: Final = "#/components/schemas/"


class _Given(GenerateJsonSchema):
    """As pydantic makes them, without titles that repeat the names of fields."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


class _Whole(_Given):
    """For what is told with all its fields, those that have a default among them."""

    def field_is_required(self, field: object, total: bool) -> bool:
        return True


def ref(name: str) -> Schema:
    """The schema of that name, by reference."""
    return {"$ref": _REF + name}


def object_of(description: str | None = None, /, **properties: Schema) -> Schema:
    """An object that has all of `properties`, and perhaps others."""
    schema: Schema = {"type": "object", "properties": properties, "required": list(properties)}
    return schema | ({"description": description} if description else {})


def schemas() -> dict[str, Schema]:
    """All schemas, by their names."""
    asked = _made("", "validation", _Given, request_schema.ChatCompletionRequest)
    answered = _made(
        OPENAI,
        "serialization",
        _Given,
        answer_schema.ChatCompletion,
        answer_schema.ChatCompletionChunk,
        answer_schema.ErrorAnswer,
        answer_schema.Model,
        answer_schema.ModelList,
    )
    told = _made("", "serialization", _Whole, ModelsStatus, Stats, Status)
    return asked | answered | told | _written()


def _made(
    prefix: str, mode: JsonSchemaMode, generator: type[GenerateJsonSchema], *classes: type[Any]
) -> dict[str, Schema]:
    _, made = TypeAdapter.json_schemas(
        [(each.__name__, mode, TypeAdapter(each)) for each in classes],
        ref_template=f"{_REF}{prefix}{{model}}",
        schema_generator=generator,
    )
    return {prefix + name: schema for name, schema in made["$defs"].items()}


def _written() -> dict[str, Schema]:
    """Those of what no class stands for."""
    text: Schema = {"type": "string"}
    return {
        "Error": object_of(
            "What went wrong: `code` is for programs and stays, `message` is for people.",
            error=object_of(code=text, message=text),
        ),
        "Token": object_of(
            "Text that became complete with the newest token.", text=text | {"minLength": 1}
        ),
        "Done": object_of(
            "The whole caption; `length`: it was cut off at the token limit.",
            text=text,
            finish_reason={"enum": ["stop", "length"]},
            stats=ref("Stats"),
        ),
        "Health": object_of("The process serves.", status={"const": "ok"}),
    }


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
