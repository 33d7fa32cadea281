"""`POST /v1/embeddings` and `/v1/rerank`: vectors of texts and pictures, by the dual encoder."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from flask import Blueprint, Response, request
from PIL import Image

from vlm.finder.meaning import Meaning
from web.chats.answering import answer_headers, read_body
from web.errors import FieldError, UnsupportedMediaTypeError
from web.streaming import Admission, Place
from web.wsgi import watch_client

if TYPE_CHECKING:
    from pydantic import BaseModel

    from vlm.pairs.pair import Vectors
    from web.openai.embeddings_schema import AnyItem

# A class of pydantic, which is imported with the first request.
Body = TypeVar("Body", bound=Any)


def add_embeddings(blueprint: Blueprint, meaning: Meaning, admission: Admission) -> None:
    """Add the routes over `meaning` to the blueprint of OpenAI's API."""

    @blueprint.post("/embeddings")
    def create_embeddings() -> Response:
        from web.chats.ignored import ignored_fields
        from web.openai.embeddings_schema import Embedding, EmbeddingList, EmbeddingsRequest

        with admission.place() as place:
            body, is_cancelled = _read(place, EmbeddingsRequest)
            pair = meaning.pair()
            if body.dimensions not in (None, pair.width):
                raise FieldError(f"`dimensions` can only be {pair.width}.", "dimensions")
            items = [body.input] if isinstance(body.input, str) else body.input
            vectors = _vectors(items, "input", meaning, place, is_cancelled)
            is_text = body.encoding_format == "base64"
            data = [
                Embedding(index=index, embedding=_in_base64(each) if is_text else each.tolist())
                for index, each in enumerate(vectors)
            ]
            return _json(EmbeddingList(data=data, model=pair.name), pair.name, ignored_fields(body))

    @blueprint.post("/rerank")
    def rerank() -> Response:
        from web.chats.ignored import ignored_fields
        from web.openai.embeddings_schema import (
            RerankAnswer,
            Reranked,
            RerankedDocument,
            RerankRequest,
        )

        with admission.place() as place:
            body, is_cancelled = _read(place, RerankRequest)
            pair = meaning.pair()
            (query,) = _vectors([body.query], "query", meaning, place, is_cancelled)
            documents = _vectors(body.documents, "documents", meaning, place, is_cancelled)
            scores = np.clip(documents @ query, -1, 1)
            order = np.argsort(-scores, kind="stable")[: body.top_n]
            texts = [_text_of(item) for item in body.documents]
            is_told = body.return_documents is not False
            results = [
                Reranked(
                    index=index,
                    relevance_score=float(scores[index]),
                    document=RerankedDocument(text=text) if is_told and text else None,
                )
                for index in order.tolist()
                for text in [texts[index]]
            ]
            return _json(
                RerankAnswer(model=pair.name, results=results), pair.name, ignored_fields(body)
            )


def _read(place: Place, body_class: type[Body]) -> tuple[Body, Callable[[], bool]]:
    """Return the checked body, and whether the client has left."""
    from web.chats.json_body import read_fields

    if request.mimetype != "application/json":
        raise UnsupportedMediaTypeError("Send JSON, with `Content-Type: application/json`.")
    is_cancelled = watch_client(request.environ)
    body = read_body(
        request, place, lambda data: read_fields(data, body_class, lambda _: None), is_cancelled
    )
    return body, is_cancelled


def _vectors(
    items: Sequence[AnyItem],
    param: str,
    meaning: Meaning,
    place: Place,
    is_cancelled: Callable[[], bool],
) -> Vectors:
    """Return the vectors of texts and pictures; raise FieldError for the field `param`."""
    from web.chats.fields import check_texts
    from web.chats.images import ImageReader

    texts = {
        index: text for index, item in enumerate(items) if (text := _text_of(item)) is not None
    }
    check_texts(texts.values(), param)
    reader = ImageReader(is_cancelled)
    images: dict[int, Image.Image] = {
        index: reader.read(_uri_of(item), None, f"{param}[{index}]")
        for index, item in enumerate(items)
        if index not in texts
    }
    place.hold_images(images.values())
    vectors = np.zeros((len(items), meaning.pair().width), np.float32)
    if texts:
        vectors[list(texts)] = meaning.text_vectors(list(texts.values()))
    if images:
        vectors[list(images)] = meaning.image_vectors(list(images.values()))
    return vectors


def _text_of(item: AnyItem) -> str | None:
    """Return the text of an item, None of a picture. A data URI by itself is a picture."""
    from web.openai.embeddings_schema import DATA_URI

    text = item if isinstance(item, str) else item.text
    return None if text is None or DATA_URI.match(text) else text


def _uri_of(item: AnyItem) -> str:
    if isinstance(item, str):
        return item
    # An item has one of both, if only an empty one.
    return item.text or "" if item.image is None else item.image


def _in_base64(vector: Vectors) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


def _json(body: BaseModel, model: str, ignored: tuple[str, ...]) -> Response:
    headers = answer_headers(model, ignored)
    return Response(
        body.model_dump_json(exclude_none=True), mimetype="application/json", headers=headers
    )
