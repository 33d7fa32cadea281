"""The schemas of the OpenAPI document, made from the very classes that are read and answered."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from routes import openai_answer_schema, openai_schema
from routes.status import Status
from vlm.models_status import ModelsStatus
from vlm.types import Stats

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
    asked = _made("", "validation", _Given, openai_schema.ChatCompletionRequest)
    answered = _made(
        OPENAI,
        "serialization",
        _Given,
        openai_answer_schema.ChatCompletion,
        openai_answer_schema.ChatCompletionChunk,
        openai_answer_schema.ErrorAnswer,
        openai_answer_schema.Model,
        openai_answer_schema.ModelList,
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
