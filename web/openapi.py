"""`GET /openapi.json`: the OpenAPI document, assembled from the classes that the routes use.

No library makes it: those for Flask cannot describe the events of a stream, which needs
`itemSchema` of OpenAPI 3.2 (docs/experiments.md).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from flask import Blueprint, Response

from vlm import __version__
from vlm.images.decode import MAX_IMAGE_BYTES
from vlm.settings import Settings
from vlm.timeline.exports import FORMATS
from web.caption_fields import caption_fields
from web.closer import HIDING_FIELDS, PATCHES_FIELDS, WHERE_FIELDS
from web.labels import ASPECTS_FIELDS, LABELS_FIELDS
from web.openapi_schemas import REF, Json, schemas
from web.paths import PROPS_PATH, Family, family_of
from web.picture_body import RAW_TYPES
from web.status import SWITCH_FIELDS
from web.things import (
    BOXES_FIELDS,
    TEXT_FIELDS,
    THINGS_FIELDS,
)
from web.timeline_fields import (
    ASK_BODY,
    DAYS_FIELDS,
    EXPORT_FIELDS,
    GAP_BODY,
    KEEP_BODY,
    MOST_ID,
    RANGE_FIELDS,
    SEARCH_FIELDS,
    SETTINGS_BODY,
    UNDO_BODY,
)

OPENAPI_VERSION: Final = "3.2.0"

_CAPTION: Final = (
    "The image is the body, or the field `image` of a form. A field in the query takes precedence "
    "over one in the form. The stream has tokens, `looks` if asked for, then `done`, or `error` if "
    "the work fails; while the request waits, a comment line about every second. Closing the "
    "connection cancels it."
)
_CHAT: Final = (
    "The answer is whole, or with `stream` in chunks, with `[DONE]` last, or an error if the work "
    "fails midway. Any `model` is answered by the one that runs; `X-Sightline-Model` names it. "
    "Fields that have no effect are ignored, and named in `X-Sightline-Ignored`."
)
_OLLAMA: Final = (
    "The answer is lines of JSON, the last one with `done`, or an error if the work fails midway; "
    "with `stream` false it is one object. Any `model` is answered by the one that runs; "
    "`X-Sightline-Model` names it. Fields that have no effect are ignored, and named in "
    "`X-Sightline-Ignored`. The body is read as JSON whatever its type."
)
_RESPONSES: Final = (
    "As a chat, in the form of OpenAI's Responses API. Nothing is kept: `store` is answered with "
    "false. With `stream` the last event is `response.completed`, `response.incomplete` if the "
    "answer was cut off at its limit of tokens, or `response.failed`."
)
_ASK: Final = (
    "When, how often and how long a thing was seen is answered by what captions name, without the "
    "model. Other questions are answered by the model over the moments that are found for them."
)
_EMBEDDINGS: Final = (
    "By the dual encoder beside the model that captions (`--pair`). A picture is a data URI in "
    'base64, as the item `{"image": ...}` or in place of a text.'
)
_TAGS: Final = {
    "captions": "One image, one question.",
    "labels": "How likely the model finds given labels of one image.",
    "closer": "What one image does to an answer, and what the model sees of it.",
    "finder": "Boxes, things and text in one image, by small models beside the one that captions.",
    "openai": "Chats, for programs made for OpenAI's API.",
    "ollama": "Chats, for programs made for Ollama's API.",
    "models": "Which model runs.",
    "timeline": "What was captioned and asked, if the person keeps it.",
    "service": "The state of the server.",
}
_TAG_OF: Final = {
    "/api/captions": "captions",
    "/api/labels": "labels",
    "/api/aspects": "labels",
    "/api/hiding": "closer",
    "/api/patches": "closer",
    "/api/where": "closer",
    "/api/boxes": "finder",
    "/api/things": "finder",
    "/api/text": "finder",
    "/api/models": "models",
    "/api/timeline": "timeline",
}
_ERROR_OF: Final[dict[Family, str]] = {
    "own": "ErrorAnswer",
    "openai": "OpenAIErrorAnswer",
    "ollama": "OllamaErrorAnswer",
}
REFUSALS: Final = {
    400: "A field or the body is not valid.",
    401: "The key is missing or wrong.",
    403: "A page of another site sent the request, or the host name is not this server's.",
    404: "There is nothing of this name.",
    409: "Not possible in the present state.",
    413: "More bytes, pixels or parts than are accepted.",
    415: "The body is of a type that is not accepted.",
    422: "The answer has no text, such as by a stop text that comes first.",
    431: "The address and the headers are longer than 32 KiB.",
    500: "Something went wrong on the server; see its log.",
    501: "What runs the model cannot do this.",
    502: "The answer of the server that runs the model is not valid.",
    503: "Not now: the model is loading, off or failed, or too many requests are in flight.",
    504: "The server that runs the model took too long.",
}
REFUSALS_OF_ALL: Final = (403, 431, 500)
_RETRY_AFTER: Final = {
    "description": "Seconds until a retry makes sense. Absent if waiting does not help.",
    "schema": {"type": "integer", "minimum": 1},
}


def openapi_blueprint(settings: Settings) -> Blueprint:
    """Return the route. The document leaves out the page and its files."""
    blueprint = Blueprint("openapi", __name__)
    cached = cache(lambda: json.dumps(document(settings)))
    making = threading.Lock()

    @blueprint.get("/openapi.json")
    def openapi_document() -> Response:
        with making:
            text = cached()
        return Response(text, mimetype="application/json")

    return blueprint


def document(settings: Settings) -> Json:
    """Return the document for a server with `settings`; takes some tenths of a second."""
    made: Json = {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "Sightline",
            "version": __version__,
            "summary": "Live captions for what a camera sees, made on your own machine.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": _paths(settings),
        "components": {"schemas": schemas()},
    }
    if settings.client_key_file is not None:
        scheme = {"type": "http", "scheme": "bearer", "description": "The key of this server."}
        made["components"]["securitySchemes"] = {"key": scheme}
    return made


def _paths(settings: Settings) -> Json:
    models = _json("ModelsStatus")
    model = {"name": "model", "in": "path", "required": True}
    model["schema"] = {"type": "string", "minLength": 1}
    moment = {"name": "moment", "in": "path", "required": True}
    moment["schema"] = {"type": "integer", "minimum": 0, "maximum": MOST_ID}
    fields = caption_fields(settings.max_tokens)
    switch = {"type": "object", "properties": SWITCH_FIELDS, "required": [*SWITCH_FIELDS]}
    done = {"properties": {"data": {"const": "[DONE]"}}, "required": ["data"]}
    chunks = (_event("OpenAIChatCompletionChunk"), _event("OpenAIErrorAnswer"), done)
    ends = (_event("CaptionResult", "done"), _event("ErrorAnswer", "error"))
    tokens = (_event("Token", "token"), _event("Looks", "looks"), *ends)
    key: Json = {"security": []}
    keyed: tuple[int, ...] = ()
    if settings.client_key_file is not None:
        key, keyed = {"security": [{"key": []}]}, (401,)
    upstream = (502, 504) if settings.engine == "openai" else ()
    operations = (
        _operation(
            "post /api/captions", "caption", "Caption an image, in a stream", _stream(*tokens),
            (400, 413, 415, 503), description=_CAPTION, **_picture(fields),
        ),
        _operation(
            "post /api/labels", "labelPicture", "Say how likely given labels of an image are",
            _json("LabelsAnswer"), (400, 413, 415, 501, 503), **_picture(LABELS_FIELDS),
        ),
        _operation(
            "post /api/aspects", "aspectsOfPicture", "Say what the aspects of an image are",
            _json("AspectsAnswer"), (400, 413, 415, 501, 503), **_picture(ASPECTS_FIELDS),
        ),
        _operation(
            "post /api/hiding", "hideParts", "Say what a word of an answer loses without a part",
            _json("HidingAnswer"), (400, 409, 413, 415, 501, 503), **_picture(HIDING_FIELDS),
        ),
        _operation(
            "post /api/patches", "alikePatches", "Say which patches of an image are alike",
            _json("PatchesAnswer"), (400, 413, 415, 501, 503), **_picture(PATCHES_FIELDS),
        ),
        _operation(
            "post /api/where", "findPlace", "Say where a named thing is in an image",
            _json("WhereAnswer"), (400, 409, 413, 415, 501, 503), **_picture(WHERE_FIELDS),
        ),
        _operation(
            "post /api/boxes", "findBoxes", "Find things in an image, as boxes",
            _json("BoxesAnswer"), (400, 413, 415, 503), **_picture(BOXES_FIELDS),
        ),
        _operation(
            "post /api/things", "findThings", "Name the things in an image, and the place",
            _json("ThingsAnswer"), (400, 413, 415, 503), **_picture(THINGS_FIELDS),
        ),
        _operation(
            "post /api/text", "readText", "Read the text in an image",
            _json("TextAnswer"), (400, 413, 415, 503), **_picture(TEXT_FIELDS),
        ),
        _operation(
            "get /v1/models", "listModels", "List the running model", _json("OpenAIModelList"),
            (503, *keyed), **key,
        ),
        _operation(
            "get /v1/models/{model}", "retrieveModel", "Get the running model by its name",
            _json("OpenAIModel"), (404, 503, *keyed), parameters=[model], **key,
        ),
        _operation(
            "post /v1/chat/completions", "createChatCompletion", "Answer a chat with images",
            _json("OpenAIChatCompletion") | _stream(*chunks),
            (400, 413, 415, 422, 503, *keyed, *upstream), description=_CHAT,
            requestBody=_body(_json("ChatCompletionRequest")), **key,
        ),
        _operation(
            f"get {PROPS_PATH}", "props", "What llama.cpp's clients read of the model",
            _json("Props"), (503, *keyed), **key,
        ),
        _operation(
            "post /api/chat", "ollamaChat", "Answer a chat with images, in Ollama's form",
            _lines("OllamaChatAnswer"), (400, 413, 422, 503, *keyed, *upstream),
            description=_OLLAMA, requestBody=_body(_json("OllamaChatRequest")), **key,
        ),
        _operation(
            "post /api/generate", "ollamaGenerate", "Answer a prompt with images",
            _lines("OllamaGenerateAnswer"), (400, 413, 422, 503, *keyed, *upstream),
            description=_OLLAMA, requestBody=_body(_json("OllamaGenerateRequest")), **key,
        ),
        _operation(
            "get /api/tags", "ollamaTags", "List the running model", _json("OllamaModelList"),
            (503, *keyed), **key,
        ),
        _operation(
            "post /api/show", "ollamaShow", "Describe the running model", _json("OllamaShow"),
            (400, 413, 503, *keyed), requestBody=_body(_json("OllamaShowRequest")), **key,
        ),
        _operation(
            "get /api/ps", "ollamaPs", "List the model in memory", _json("OllamaRunningModels"),
            keyed, **key,
        ),
        _operation(
            "get /api/version", "ollamaVersion", "The release of Ollama whose API this is",
            _json("OllamaVersion"), keyed, **key,
        ),
        _operation(
            "post /v1/responses", "createResponse", "Answer a chat with images, as a response",
            _json("OpenAIResponseAnswer") | _stream(_event("OpenAIResponseEvent")),
            (400, 413, 415, 422, 503, *keyed, *upstream), description=_RESPONSES,
            requestBody=_body(_json("ResponsesRequest")), **key,
        ),
        _operation(
            "get /api/timeline", "findMoments", "Find what was captioned and asked",
            _json("Moments"), (400, 503), parameters=_query(SEARCH_FIELDS),
        ),
        _operation(
            "delete /api/timeline", "deleteMoments", "Delete the moments of a time, or all",
            _json("Deletion"), (400, 503), parameters=_query(RANGE_FIELDS),
            description="For good after `undo_s` seconds.",
        ),
        _operation(
            "post /api/timeline/ask", "askTimeline", "Ask about what was kept, in a stream",
            _stream(
                _event("Recalled", "found"), _event("Token", "token"),
                _event("TimelineAnswer", "done"), _event("ErrorAnswer", "error"),
            ),
            (400, 501, 503), requestBody=_body({"application/json": {"schema": ASK_BODY}}),
            description=_ASK,
        ),
        _operation(
            "get /api/timeline/days", "countMoments", "Count moments by half hours",
            _json("Days"), (400, 503), parameters=_query(DAYS_FIELDS),
        ),
        _operation(
            "get /api/timeline/moments/{moment}", "moment", "Get a moment", _json("Moment"),
            (404, 503), parameters=[moment],
        ),
        _operation(
            "delete /api/timeline/moments/{moment}", "deleteMoment", "Delete a moment",
            _json("Deletion"), (404, 503), parameters=[moment],
        ),
        _operation(
            "get /api/timeline/moments/{moment}/picture", "momentPicture",
            "Get the small picture of a moment",
            {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
            (404, 503), parameters=[moment],
        ),
        _operation(
            "post /api/timeline/moments/{moment}/keep", "keepMoment",
            "Keep a moment, however old it is", _json("Moment"), (400, 404, 503),
            parameters=[moment], requestBody=_body({"application/json": {"schema": KEEP_BODY}}),
        ),
        _operation(
            "get /api/timeline/export", "exportTimeline", "Take moments along as a file",
            {each.media_type: {"schema": {"type": "string"}} for each in FORMATS.values()},
            (400, 503), parameters=_query(EXPORT_FIELDS),
        ),
        _operation(
            "post /api/timeline/import", "importTimeline", "Import what was exported as `jsonl`",
            _json("Imported"), (400, 413, 503),
            requestBody=_body({"application/jsonl": {"schema": {"type": "string"}}}),
        ),
        _operation(
            "post /api/timeline/undo", "undoDeletion", "Undo a deletion", _json("Undone"),
            (400, 404, 503), requestBody=_body({"application/json": {"schema": UNDO_BODY}}),
        ),
        _operation(
            "get /api/timeline/settings", "timelineSettings", "What is kept, and where",
            _json("TimelineStatus"),
        ),
        _operation(
            "post /api/timeline/settings", "chooseTimeline", "Choose what is kept",
            _json("TimelineStatus"), (400, 503),
            requestBody=_body({"application/json": {"schema": SETTINGS_BODY}}),
        ),
        _operation(
            "post /api/timeline/gaps", "reportGap", "Tell why a camera is not captioned", {},
            (400, 503), 204, requestBody=_body({"application/json": {"schema": GAP_BODY}}),
        ),
        _operation(
            "post /v1/embeddings", "createEmbeddings", "Return vectors of texts and pictures",
            _json("OpenAIEmbeddingList"), (400, 413, 415, 503, *keyed), description=_EMBEDDINGS,
            requestBody=_body(_json("EmbeddingsRequest")), **key,
        ),
        _operation(
            "post /v1/rerank", "rerank", "Order texts and pictures by how near a query is",
            _json("OpenAIRerankAnswer"), (400, 413, 415, 503, *keyed), description=_EMBEDDINGS,
            requestBody=_body(_json("RerankRequest")), **key,
        ),
        _operation(
            "post /api/models/switch", "switchModel", "Change to another model, after a download "
            "if it is not here", models, (400, 404, 409, 413, 415), 202,
            requestBody=_body({"application/json": {"schema": switch}}),
        ),
        _operation("post /api/models/cancel", "cancelChange", "Cancel the change", models),
        _operation("post /api/models/dismiss", "dismissProblem", "Clear the error", models),
        _operation("get /api/status", "status", "Model, queue and limits", _json("Status")),
        _operation("get /healthz", "health", "Whether the process serves", _json("Health")),
        _operation(
            "get /metrics", "metrics", "Metrics in Prometheus' text format",
            {"text/plain": {"schema": {"type": "string"}}},
        ),
        _operation(
            "get /openapi.json", "document", "This document",
            {"application/json": {"schema": {"type": "object"}}},
        ),
    )  # fmt: skip
    paths: Json = {}
    for path, operation in operations:
        paths.setdefault(path, {}).update(operation)
    return paths


def _operation(
    where: str,
    name: str,
    summary: str,
    answer: Json,
    refusals: tuple[int, ...] = (),
    status: int = 200,
    **more: Any,
) -> tuple[str, Json]:
    """Return the path and its one operation; `where` is `method path`."""
    method, path = where.split()
    family = family_of(path)
    own = next((tag for start, tag in _TAG_OF.items() if path.startswith(start)), "service")
    success: Json = {"description": "Success."} | ({"content": answer} if answer else {})
    responses: Json = {str(status): success}
    error = _json(_ERROR_OF[family])
    for refusal in sorted({*refusals, *REFUSALS_OF_ALL}):
        responses[str(refusal)] = {"description": REFUSALS[refusal], "content": error}
    if "503" in responses:
        responses["503"]["headers"] = {"Retry-After": _RETRY_AFTER}
    tags = [own if family == "own" else family]
    operation = {"operationId": name, "tags": tags, "summary": summary, "responses": responses}
    return path, {method: operation | more}


def _body(content: Json) -> Json:
    return {"required": True, "content": content}


def _picture(fields: Mapping[str, Json]) -> Json:
    """Return parameters and body of a route that takes a picture with `fields` beside it.

    None is required: each comes in the query or in the form.
    """
    return {"parameters": _query(fields), "requestBody": _body(_image_bodies(fields))}


def _query(fields: Mapping[str, Json]) -> list[Json]:
    return [{"name": name, "in": "query", "schema": fields[name]} for name in fields]


def _image_bodies(fields: Mapping[str, Json]) -> Json:
    image = {"type": "string", "format": "binary", "maxLength": MAX_IMAGE_BYTES}
    form = {"type": "object", "properties": {"image": image, **fields}, "required": ["image"]}
    image_types = ", ".join(name for name in RAW_TYPES if name.startswith("image/"))
    encoding = {"image": {"contentType": image_types}}
    bodies: Json = {name: {"schema": image} for name in RAW_TYPES}
    return bodies | {"multipart/form-data": {"schema": form, "encoding": encoding}}


def _json(schema: str) -> Json:
    return {"application/json": {"schema": {"$ref": REF + schema}}}


def _stream(*events: Json) -> Json:
    return {"text/event-stream": {"itemSchema": {"type": "object", "anyOf": [*events]}}}


def _lines(schema: str) -> Json:
    """Return the whole answer, and the same line by line, with an error as the last."""
    lines = [{"$ref": REF + name} for name in (schema, "OllamaErrorAnswer")]
    return _json(schema) | {"application/x-ndjson": {"itemSchema": {"anyOf": lines}}}


def _event(schema: str, name: str | None = None) -> Json:
    """Return the schema of an event whose data is JSON; OpenAI's events have no name."""
    data = {"contentMediaType": "application/json", "contentSchema": {"$ref": REF + schema}}
    properties: Json = {"event": {"const": name}} if name else {}
    properties["data"] = {"type": "string"} | data
    return {"properties": properties, "required": [*properties]}
