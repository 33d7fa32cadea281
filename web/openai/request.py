"""From a checked chat body to the Request that the worker takes."""

from __future__ import annotations

import base64
from typing import Final

from PIL import Image

from vlm.errors import BadImageError, BadRequestError, ImageTooLargeError, UnsupportedImageError
from vlm.images.decode import MAX_IMAGE_BYTES, decode_image
from vlm.prompts import check_text
from vlm.settings import Settings
from vlm.types import AnswerTask, Detail, Message, Request, Role, Sampling
from web.errors import FieldError
from web.openai.schema import (
    AssistantMessage,
    ChatCompletionRequest,
    ImagePart,
    SystemMessage,
    UserMessage,
)

_SEED_BITS = 2**63 - 1
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def caption_request(body: ChatCompletionRequest, settings: Settings) -> Request:
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
    task = AnswerTask(
        messages,
        max_tokens=min(limits, default=settings.max_tokens),
        detail=_detail(body),
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
    return Request(task, camera=body.user)


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


MAX_IMAGES: Final = 16
# Five photographs of a phone, or all sixteen at a megapixel: 48 MiB as they wait for their turn.
MAX_PIXELS_TOGETHER: Final = 16 * 2**20


class ImageReader:
    """Reads the pictures of one request, which have bounds together as well."""

    def __init__(self) -> None:
        self._images = 0
        self._pixels = 0

    def read(self, data_uri: str, param: str) -> Image.Image:
        """The picture in `data_uri`; raises FieldError, which names `param`."""
        self._images += 1
        if self._images > MAX_IMAGES:
            raise FieldError(f"At most {MAX_IMAGES} images are taken.", param, "too_many_images")
        try:
            image = decode_image(_bytes_of(data_uri, param))
        except ImageTooLargeError as error:
            raise FieldError(str(error), param, error.code, status=413) from None
        except (BadImageError, UnsupportedImageError) as error:
            raise FieldError(str(error), param, error.code) from None
        self._pixels += image.width * image.height
        if self._pixels > MAX_PIXELS_TOGETHER:
            raise FieldError(
                f"The images have more than {MAX_PIXELS_TOGETHER:,} pixels together, the most "
                "that are taken. Make them smaller.",
                param,
                ImageTooLargeError.code,
                status=413,
            )
        return image


def _bytes_of(data_uri: str, param: str) -> bytes:
    text = data_uri.partition(",")[2]
    if len(text) * 3 // 4 > MAX_IMAGE_BYTES + 2:
        raise ImageTooLargeError(
            f"The image has more than {MAX_IMAGE_BYTES // 2**20} MiB. Make it smaller or compress "
            "it more."
        )
    try:
        if len(text) % 4:
            raise ValueError("bad padding")
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise FieldError(
            "What follows the comma of the data URI is not base64 (of A-Z, a-z, 0-9, + and /, "
            "padded with =, without spaces or line breaks).",
            param,
            "invalid_base64",
        ) from None
