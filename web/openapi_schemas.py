"""The schemas of the OpenAPI document, of all bodies and events, from the routes' own classes."""

from __future__ import annotations

from typing import Any

from vlm.models.candidates import ModelsStatus
from vlm.results import Looks
from vlm.timeline.choices import TimelineStatus
from web.captions import CaptionResult, Token
from web.closer import HidingAnswer, PatchesAnswer, WhereAnswer
from web.errors import ErrorAnswer, OllamaErrorAnswer, OpenAIErrorAnswer
from web.labels import AspectsAnswer, LabelsAnswer
from web.ollama.models import OllamaModelList, OllamaRunningModels, OllamaShow, OllamaVersion
from web.openai.props import Props
from web.openai.routes import Model, ModelList
from web.status import Health, Status
from web.things import BoxesAnswer, TextAnswer, ThingsAnswer
from web.timeline_fields import TIMELINE_SCHEMAS

Json = dict[str, Any]

REF = "#/components/schemas/"


def schemas() -> Json:
    """Return the schemas of all bodies and events by name."""
    # Imported here: pydantic takes long to import, and most servers are never asked for this.
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

    from web.ollama.answers import OllamaChatAnswer, OllamaGenerateAnswer
    from web.ollama.schema import OllamaChatRequest, OllamaGenerateRequest, OllamaShowRequest
    from web.openai.answers import ChatCompletion, ChatCompletionChunk
    from web.openai.embeddings_schema import (
        EmbeddingList,
        EmbeddingsRequest,
        RerankAnswer,
        RerankRequest,
    )
    from web.openai.responses_answers import ResponseAnswer, ResponseEvent
    from web.openai.responses_schema import ResponsesRequest
    from web.openai.schema import ChatCompletionRequest

    class Schemas(GenerateJsonSchema):
        """Leaves out titles, which only repeat the names of fields."""

        def field_title_should_be_set(self, schema: object) -> bool:
            return False

    class CompleteSchemas(Schemas):
        """Makes all fields required: our answers have them all, those with a default too."""

        def field_is_required(self, field: object, total: bool) -> bool:
            return True

    def made_of(
        mode: JsonSchemaMode, generator: type[GenerateJsonSchema], prefix: str, *classes: type[Any]
    ) -> Json:
        _, made = TypeAdapter.json_schemas(
            [(each.__name__, mode, TypeAdapter(each)) for each in classes],
            ref_template=f"{REF}{prefix}{{model}}",
            schema_generator=generator,
        )
        return {prefix + name: schema for name, schema in made["$defs"].items()}

    # OpenAI's answers have a prefix: some have the name of one of ours.
    openai = (
        ChatCompletion, ChatCompletionChunk, EmbeddingList, Model, ModelList, RerankAnswer,
        ResponseAnswer, ResponseEvent,
    )  # fmt: skip
    own = (
        CaptionResult, ErrorAnswer, Health, Looks, ModelsStatus, OpenAIErrorAnswer, Props, Status,
        TimelineStatus, Token,
    )  # fmt: skip
    found = (
        AspectsAnswer, BoxesAnswer, HidingAnswer, LabelsAnswer, PatchesAnswer, TextAnswer,
        ThingsAnswer, WhereAnswer,
    )  # fmt: skip
    ollama = (OllamaErrorAnswer, OllamaModelList, OllamaRunningModels, OllamaShow, OllamaVersion)
    requests = (
        ChatCompletionRequest, EmbeddingsRequest, OllamaChatRequest, OllamaGenerateRequest,
        OllamaShowRequest, RerankRequest, ResponsesRequest,
    )  # fmt: skip
    return (
        made_of("validation", Schemas, "", *requests)
        | made_of("serialization", Schemas, "", OllamaChatAnswer, OllamaGenerateAnswer)
        | made_of("serialization", Schemas, "OpenAI", *openai)
        | made_of("serialization", CompleteSchemas, "", *own, *found, *ollama)
        | dict(TIMELINE_SCHEMAS)
    )
