"""Read the body of a chat request: bytes to JSON, JSON to checked fields, fields to a Request.

Every refusal is a FieldError with the path of the wrong field.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from PIL import Image
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from vlm.errors import BadImageError, ImageTooLargeError, UnsupportedImageError
from vlm.images.decode import MAX_IMAGE_BYTES, decode_image
from vlm.settings import Settings
from vlm.types import AnswerTask, Detail, Message, Request, Role, Sampling
from web.errors import FieldError, FieldTooLargeError, too_many_bytes
from web.openai.schema import (
    AssistantMessage,
    ChatCompletionRequest,
    ImagePart,
    ImageUrl,
    NeutralFields,
    SystemMessage,
    UserMessage,
)

# Commas and opening brackets of a body: far more than a request within the other bounds has. Each
# may cost the parser a hundred bytes.
MAX_VALUES: Final = 50_000
MAX_IMAGES: Final = 16
# Of all images of a request: five photographs of a phone, or sixteen of a megapixel. Decoded, they
# take 48 MiB while they wait in the queue.
MAX_PIXELS_TOGETHER: Final = 16 * 2**20

_INVALID_JSON: Final = "invalid_json"
_FIELD_SHOWN_CHARS: Final = 64
# Random generators accept no negative seed.
_SEED_BITS: Final = 2**63 - 1
# From pydantic's error types to OpenAI's codes.
_CODES: Final = {
    "missing": "missing_required_parameter",
    "union_tag_not_found": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
}
_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def read_chat_body(data: bytes) -> ChatCompletionRequest:
    """Return the checked fields of `data`; raises FieldError for the first wrong field."""
    body = read_json(data)
    try:
        return ChatCompletionRequest.model_validate(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    raise _field_error(details[0], body)


def read_json(data: bytes) -> object:
    """Return the value of the JSON in `data`; raises FieldError.

    Refuses what other parsers may read differently (not UTF-8, NaN, a name twice in one object),
    and what costs too much (depth, number of values).
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
        raise FieldError(
            f"The body has more than {MAX_VALUES:,} commas and opening brackets, the most that are "
            "accepted.",
            None,
            _INVALID_JSON,
        )
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object_of_unique_names,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError:
        message = "The body is not UTF-8."
    except json.JSONDecodeError as error:
        message = f"The body is not JSON: {error.msg} at character {error.pos}."
    except ValueError:
        message = "The body has a number with too many digits."
    except RecursionError:
        message = "The body is nested too deeply."
    raise FieldError(message, None, _INVALID_JSON)


def _object_of_unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = _shown(next(name for name, count in counts.items() if count > 1))
        raise FieldError(f"`{twice}` occurs more than once in one object.", twice, _INVALID_JSON)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise FieldError(f"The body is not JSON: it has no number {name}.", None, _INVALID_JSON)


def _field_error(details: ErrorDetails, body: object) -> FieldError:
    kind = details["type"]
    path = _path(details["loc"], body, kind == "missing")
    context = details.get("ctx", {})
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        path = [*path, context["discriminator"].strip("'")]
    field = _field(path)
    if path and path[0] in NeutralFields.model_fields:
        described = NeutralFields.model_fields[str(path[0])].description
        return FieldError(f"`{field}` cannot be used here. {described}", field, "unsupported_value")
    code = _CODES.get(kind, "invalid_type" if kind.endswith("_type") else "invalid_value")
    return FieldError(f"`{field}` {_complaint(kind, details['msg'], context)}", field, code)


def _complaint(kind: str, message: str, context: dict[str, Any]) -> str:
    if kind in ("missing", "union_tag_not_found"):
        return "is missing."
    if kind == "extra_forbidden":
        return "is not a known field."
    if kind == "union_tag_invalid":
        return f"must be one of {context['expected_tags']}."
    if kind == "model_type":
        return "must be an object."
    if kind == "string_pattern_mismatch":
        return (
            "must be a data URI in base64, such as data:image/jpeg;base64,... Addresses are not "
            "fetched: send the image itself."
        )
    for start in ("Input should", "String should", "List should", "Dictionary should"):
        if message.startswith(start):
            return f"must{message.removeprefix(start).replace(' after validation', '')}."
    return f"is refused: {message.rstrip('.')}."


def _path(location: Sequence[int | str], body: object, last_is_missing: bool) -> list[int | str]:
    """Return the steps from `body` to the field: `location` without pydantic's own names."""
    path: list[int | str] = []
    here: Any = body
    for number, step in enumerate(location):
        if isinstance(step, int) or (isinstance(here, dict) and step in here):
            here = here[step]
        elif not (last_is_missing and number == len(location) - 1):
            continue
        path.append(step)
    return path


def _field(path: Sequence[int | str]) -> str:
    """Return `path` as OpenAI writes it: `messages[0].content[1].image_url.url`."""
    written = ""
    for step in path:
        if isinstance(step, int):
            written += f"[{step}]"
        else:
            written += f".{_shown(step)}" if written else _shown(step)
    return written or "body"


def _shown(name: str) -> str:
    """Return a client's field name, cut, without unprintable characters."""
    return "".join(char for char in name[:_FIELD_SHOWN_CHARS] if char.isprintable())


def chat_request(body: ChatCompletionRequest, settings: Settings) -> Request:
    """Return the Request for the worker, with all images decoded; raises FieldError.

    If one image is to be read in detail `high`, all are: a request has one detail.
    """
    if body.top_logprobs and not body.logprobs:
        raise FieldError("`top_logprobs` needs `logprobs` to be true.", "top_logprobs")
    images = _ImageReader()
    messages = tuple(
        _message(message, f"messages[{index}].content", images)
        for index, message in enumerate(body.messages)
    )
    limits = [limit for limit in (body.max_completion_tokens, body.max_tokens) if limit is not None]
    stop = body.stop or ()
    task = AnswerTask(
        messages,
        max_tokens=min(limits, default=settings.max_tokens),
        detail=images.detail,
        sampling=Sampling(
            temperature=body.temperature or 0.0,
            top_p=1.0 if body.top_p is None else body.top_p,
            seed=None if body.seed is None else body.seed & _SEED_BITS,
        ),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        json_object=body.response_format is not None and body.response_format.type == "json_object",
    )
    return Request(task, camera=body.user)


def _message(
    message: SystemMessage | UserMessage | AssistantMessage, param: str, images: _ImageReader
) -> Message:
    role = _ROLES[message.role]
    if isinstance(message.content, str):
        return Message(role, (message.content,))
    parts = [
        images.read(part.image_url, f"{param}[{index}].image_url.url")
        if isinstance(part, ImagePart)
        else part.text
        for index, part in enumerate(message.content)
    ]
    return Message(role, tuple(parts))


class _ImageReader:
    """Decodes the images of one request, within the bounds of all of them together."""

    def __init__(self) -> None:
        self.detail: Detail = "low"
        self._images = 0
        self._pixels = 0

    def read(self, image_url: ImageUrl, param: str) -> Image.Image:
        """Return the decoded image; raises FieldError for the field `param`."""
        if image_url.detail == "high":
            self.detail = "high"
        self._images += 1
        if self._images > MAX_IMAGES:
            raise FieldError(f"At most {MAX_IMAGES} images are accepted.", param, "too_many_images")
        try:
            image = decode_image(_image_bytes(image_url.url, param))
        except ImageTooLargeError as error:
            raise FieldTooLargeError(str(error), param, error.code) from None
        except (BadImageError, UnsupportedImageError) as error:
            raise FieldError(str(error), param, error.code) from None
        self._pixels += image.width * image.height
        if self._pixels > MAX_PIXELS_TOGETHER:
            raise FieldTooLargeError(
                f"The images have more than {MAX_PIXELS_TOGETHER:,} pixels together, the most "
                "that are accepted. Make them smaller.",
                param,
                ImageTooLargeError.code,
            )
        return image


def _image_bytes(data_uri: str, param: str) -> bytes:
    encoded = data_uri.partition(",")[2]
    if len(encoded) * 3 // 4 > MAX_IMAGE_BYTES + 2:
        raise ImageTooLargeError(
            f"{too_many_bytes('The image', MAX_IMAGE_BYTES)} Make it smaller or compress it more."
        )
    try:
        if len(encoded) % 4:
            raise ValueError("bad padding")
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        raise FieldError(
            "The data URI is not base64 after its comma (A-Z, a-z, 0-9, + and /, padded with =, "
            "without spaces or line breaks).",
            param,
            "invalid_base64",
        ) from None
