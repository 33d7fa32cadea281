"""Read the bodies of Ollama's API: checked fields, and the Request that they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from PIL import Image

from vlm.types import ANSWER_MAX_TOKENS, AnswerTask, Form, Message, Request, Sampling
from web.chats.fields import check_texts, role_of, seed_of, written_calls
from web.chats.forms import broken_keywords, form_of_schema
from web.chats.ignored import ignored_fields
from web.chats.images import ImageReader
from web.chats.json_body import MISSING, Path, read_fields
from web.errors import FieldError
from web.ollama.schema import (
    OllamaChatRequest,
    OllamaGenerateRequest,
    OllamaMessage,
    OllamaShowRequest,
    Options,
)

# Where an image stands in a text.
_MARK: Final = "[img]"


def read_chat(data: bytes) -> OllamaChatRequest:
    """Return the checked fields of a body of `/api/chat`; raises FieldError."""
    return read_fields(data, OllamaChatRequest, _why_refused)


def read_generate(data: bytes) -> OllamaGenerateRequest:
    """Return the checked fields of a body of `/api/generate`; raises FieldError."""
    return read_fields(data, OllamaGenerateRequest, _why_refused)


def read_show(data: bytes) -> OllamaShowRequest:
    """Return the checked fields of a body that only names a model; raises FieldError."""
    return read_fields(data, OllamaShowRequest, _why_refused)


def _why_refused(path: Path) -> str | None:
    """Return why the field at the start of `path` is refused, None if any value may be right."""
    is_suffix = path[:1] == ["suffix"]
    return OllamaGenerateRequest.model_fields["suffix"].description if is_suffix else None


@dataclass(frozen=True)
class ReadRequest:
    """A request that was read."""

    request: Request | None
    """None: nothing is asked, and the model is only to be loaded."""
    ignored: tuple[str, ...]
    """Names of fields that have no effect."""


def chat_request(body: OllamaChatRequest, is_cancelled: Callable[[], bool]) -> ReadRequest:
    """Return what `body` demands, with all images decoded.

    Raises FieldError, what `decode_image` does if `is_cancelled`, and BusyError.
    """
    if not body.messages:
        return _only_load(body, "messages")
    check_texts((message.content or "" for message in body.messages), "messages")
    images = ImageReader(is_cancelled)
    messages = [
        _message(message, f"messages[{index}].images", images)
        for index, message in enumerate(body.messages)
    ]
    return _read(body, messages)


def generate_request(body: OllamaGenerateRequest, is_cancelled: Callable[[], bool]) -> ReadRequest:
    """Return what `body` demands, as `chat_request` does; an image needs no prompt."""
    if not body.prompt and not body.images:
        return _only_load(body, "prompt")
    check_texts((body.prompt or "", body.system or ""), "prompt")
    images = ImageReader(is_cancelled)
    parts = _parts(body.prompt or "", body.images or (), "images", images)
    system = [Message("system", (body.system,))] if body.system else []
    return _read(body, [*system, Message("user", parts)])


def _only_load(body: OllamaChatRequest | OllamaGenerateRequest, param: str) -> ReadRequest:
    if not body.model:
        raise FieldError(f"`{param}` is missing.", param, MISSING)
    return ReadRequest(None, ignored_fields(body))


def _read(
    body: OllamaChatRequest | OllamaGenerateRequest, messages: Iterable[Message]
) -> ReadRequest:
    options = body.options or Options.model_validate({})
    form: Form | None = None
    ignored: list[str] = []
    if isinstance(body.format, dict):
        form = form_of_schema(body.format)
        ignored = broken_keywords(form, "format")
    limit = options.num_predict or 0
    stop = options.stop or ()
    task = AnswerTask(
        tuple(messages),
        max_tokens=min(limit, ANSWER_MAX_TOKENS) if limit > 0 else ANSWER_MAX_TOKENS,
        sampling=_sampling(options),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        json_object=body.format == "json",
        form=form,
        stop_loops=limit <= 0 or form is not None or body.format == "json",
    )
    return ReadRequest(Request(task), ignored_fields(body, ignored))


def _sampling(options: Options) -> Sampling:
    return Sampling(
        temperature=options.temperature or 0.0,
        top_p=1.0 if options.top_p is None else options.top_p,
        seed=seed_of(options.seed),
        top_k=max(options.top_k or 0, 0),
        min_p=options.min_p or 0.0,
        repetition_penalty=options.repeat_penalty or 1.0,
        presence_penalty=options.presence_penalty or 0.0,
        frequency_penalty=options.frequency_penalty or 0.0,
    )


def _message(message: OllamaMessage, param: str, images: ImageReader) -> Message:
    parts = _parts(message.content or "", message.images or (), param, images)
    return Message(role_of(message.role), (*parts, *written_calls(message.tool_calls or ())))


def _parts(
    text: str, encoded: Iterable[str], param: str, images: ImageReader
) -> tuple[str | Image.Image, ...]:
    """Return `text` with its images: each at its mark, those without one before the text."""
    decoded = [images.read(each, None, f"{param}[{index}]") for index, each in enumerate(encoded)]
    texts = text.split(_MARK, len(decoded))
    marked = len(texts) - 1
    # Of few marks and many images, the first images have them, as with Ollama.
    parts: list[str | Image.Image] = [*decoded[marked:], texts[0]]
    for image, following in zip(decoded, texts[1:], strict=False):
        parts += [image, following]
    kept = tuple(part for part in parts if part != "")
    return kept or ("",)
