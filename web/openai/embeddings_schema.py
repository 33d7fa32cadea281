"""The bodies of `POST /v1/embeddings` and `/v1/rerank`, and their answers.

Embeddings have the form of OpenAI's, pictures that of Jina's and vLLM's. OpenAI has no rerank;
this is the form that Cohere's, Jina's and vLLM's clients share.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from web.chats.fields import NAME_MAX_CHARS, ChatPart, Text, Whole, form_of

MAX_INPUTS: Final = 256
_MODEL: Final = "Any name: the dual encoder of this server answers, and its name is in the answer."


DATA_URI: Final = re.compile(r"\s*data:image/", re.IGNORECASE)
_TEXT: Final = TypeAdapter(Text)


def _checked(text: str) -> str:
    """Return `text`, which has no bounds of its own if it is a picture."""
    if DATA_URI.match(text):
        return text
    try:
        return _TEXT.validate_python(text)
    except ValidationError as error:
        (details, *_) = error.errors(include_url=False)
        raise PydanticCustomError("text", "{reason}", {"reason": details["msg"]}) from None


TextOrUri = Annotated[str, AfterValidator(_checked)]


class Item(ChatPart):
    """A text or a picture."""

    text: TextOrUri | None = None
    image: str | None = Field(None, description="A data URI in base64. Addresses are not fetched.")

    @model_validator(mode="after")
    def _has_one(self) -> Item:
        if (self.text is None) == (self.image is None):
            raise PydanticCustomError("limit", "must have either `text` or `image`")
        return self


AnyItem = Annotated[
    Annotated[TextOrUri, Tag("string")] | Annotated[Item, Tag("parts")], Discriminator(form_of)
]
Items = Annotated[list[AnyItem], Field(min_length=1, max_length=MAX_INPUTS)]


class EmbeddingsRequest(ChatPart):
    """The body of `POST /v1/embeddings`."""

    model: str | None = Field(None, max_length=NAME_MAX_CHARS, description=_MODEL)
    input: Annotated[
        Annotated[TextOrUri, Tag("string")] | Annotated[Items, Tag("parts")], Discriminator(form_of)
    ] = Field(
        description="A text (a picture, if it is a data URI), or a list of texts and objects."
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1), Whole] | None = Field(
        None, description="Only the width that the vectors have."
    )


class RerankRequest(ChatPart):
    """The body of `POST /v1/rerank`."""

    model: str | None = Field(None, max_length=NAME_MAX_CHARS, description=_MODEL)
    query: AnyItem
    documents: Items
    top_n: Annotated[int, Field(ge=1), Whole] | None = None
    return_documents: bool | None = Field(None, description="Texts only; true if absent.")


class Embedding(BaseModel):
    """One vector, of length 1."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(
        description="With `base64`: float32 numbers, little-endian."
    )


class EmbeddingUsage(BaseModel):
    """Always 0: a dual encoder has no bill."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class EmbeddingList(BaseModel):
    """The answer of `POST /v1/embeddings`, in the order of `input`."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage = EmbeddingUsage()


class RerankedDocument(BaseModel):
    """A text as it came."""

    text: str


class Reranked(BaseModel):
    """A document with its cosine to the query."""

    index: int
    relevance_score: float = Field(
        ge=-1, le=1, description="Those of texts and of pictures do not compare."
    )
    document: RerankedDocument | None = None


class RerankAnswer(BaseModel):
    """The answer of `POST /v1/rerank`, the nearest first."""

    model: str
    results: list[Reranked]
    usage: dict[str, Any] = {"total_tokens": 0}
