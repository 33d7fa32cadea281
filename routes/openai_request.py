"""From a checked chat body to the CaptionRequest that the worker takes."""

from __future__ import annotations

from PIL import Image

from routes.openai_errors import FieldError
from routes.openai_images import ImageReader
from routes.openai_schema import (
    AssistantMessage,
    ChatCompletionRequest,
    ImagePart,
    SystemMessage,
    UserMessage,
)
from vlm.errors import BadRequestError
from vlm.prompts import check_text
from vlm.settings import Settings
from vlm.types import CaptionRequest, Detail, Message, Role, Sampling

_SEED_BITS = 2**63 - 1
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def caption_request(body: ChatCompletionRequest, settings: Settings) -> CaptionRequest:
    """What `body` asks; raises FieldError.

    One detail holds for all images: `high` where one of them asks for it.
    """
    if body.top_logprobs and not body.logprobs:
        raise FieldError("`top_logprobs` needs `logprobs` to be true.", "top_logprobs")
    reader = ImageReader()
    messages = tuple(
        _message(each, f"messages[{number}].content", reader)
        for number, each in enumerate(body.messages)
    )
    limits = [each for each in (body.max_completion_tokens, body.max_tokens) if each is not None]
    return CaptionRequest(
        messages,
        max_tokens=min(limits, default=settings.max_tokens),
        detail=_detail(body),
        camera=body.user,
        sampling=Sampling(
            temperature=body.temperature or 0.0,
            top_p=1.0 if body.top_p is None else body.top_p,
            # Generators know no seed below 0.
            seed=None if body.seed is None else body.seed & _SEED_BITS,
        ),
        stop=_stops(body),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        json_object=body.response_format is not None and body.response_format.type == "json_object",
    )


def _message(
    message: SystemMessage | UserMessage | AssistantMessage, param: str, reader: ImageReader
) -> Message:
    if isinstance(message.content, str):
        return Message(_ROLES[message.role], (_text(message.content, param),))
    parts: list[str | Image.Image] = []
    for number, part in enumerate(message.content):
        if isinstance(part, ImagePart):
            image_param = f"{param}[{number}].image_url.url"
            parts.append(reader.read(part.image_url.url, image_param))
        else:
            parts.append(_text(part.text, f"{param}[{number}].text"))
    return Message(_ROLES[message.role], tuple(parts))


def _text(text: str, param: str) -> str:
    try:
        return check_text(text)
    except BadRequestError as error:
        raise FieldError(f"`{param}` is refused: {error}", param) from None


def _detail(body: ChatCompletionRequest) -> Detail:
    details = [
        part.image_url.detail
        for message in body.messages
        if not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, ImagePart)
    ]
    return "high" if "high" in details else "low"


def _stops(body: ChatCompletionRequest) -> tuple[str, ...]:
    if body.stop is None:
        return ()
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop)
