"""`POST /api/captions`: caption a frame, in a stream of server-sent events."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Final, cast

from flask import Blueprint, Response, request
from flask import Request as HttpRequest
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.datastructures import CombinedMultiDict, MultiDict

from vlm.errors import BadRequestError, ImageTooLargeError, SightlineError, UnsupportedImageError
from vlm.images.decode import MAX_IMAGE_BYTES, decode_image
from vlm.images.frame import Frame
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import Request, Result, StreamEvent
from web.caption_fields import read_caption_fields
from web.errors import FormTooLargeError, UnsupportedMediaTypeError, error_body, too_many_bytes
from web.request_log import request_log
from web.streaming import Admission, read_events

# The types of a body that is the image itself.
RAW_TYPES: Final = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")

MAX_FORM_PARTS: Final = 16
MAX_FIELD_BYTES: Final = 64 * 2**10
# Limits of each part: number of headers, and bytes of a header's name and value.
MAX_PART_HEADERS: Final = 8
MAX_PART_HEADER_BYTES: Final = 4096
# The largest picture, MAX_FORM_PARTS - 1 fields, and all headers.
MAX_FORM_BYTES: Final = MAX_IMAGE_BYTES + 2 * 2**20

_PIECE_BYTES: Final = 64 * 2**10
_FIELD_SHOWN_CHARS: Final = 64
_FIELD_CHARSETS: Final = ("ascii", "us-ascii", "utf-8", "iso-8859-1")
_MANY_PARTS_MESSAGE: Final = (
    f"The form has more than {MAX_FORM_PARTS} parts, the most that are accepted. Send fewer fields."
)
_LONG_HEADERS_MESSAGE: Final = (
    f"A part of the form has more than {MAX_PART_HEADERS} headers, or one with more than "
    f"{MAX_PART_HEADER_BYTES:,} bytes, the most that are accepted."
)
_MALFORMED_MESSAGE: Final = (
    "The multipart body is malformed or cut off. Send the picture as a file in the field `image`."
)
# A body takes up to 10 MiB and its picture far more while it is decoded, so few are read at once.
# Complete requests arrive here, so a slow client holds no place.
_READING: Final = threading.BoundedSemaphore(4)


@dataclass(frozen=True)
class Token:
    """The data of a `token` event: the text that the newest tokens completed."""

    text: str


def captions_blueprint(settings: Settings, worker: Worker, admission: Admission) -> Blueprint:
    """Return the route over a started `worker`; `admission` bounds the requests in flight."""
    blueprint = Blueprint("captions", __name__)

    @blueprint.post("/api/captions")
    def caption() -> Response:
        entry = request_log()
        entry.wants_answer = True
        with ExitStack() as held:
            held.enter_context(admission.place())
            entry.request = read_caption_request(request, settings)
            stream = held.enter_context(admission.submitted(worker, entry))
            events = read_events(stream, admission, entry)
            response = Response(
                _server_sent(events),
                mimetype="text/event-stream",
                headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
            )
            # Runs however the answer ends: read to its end, cancelled, or never started.
            response.call_on_close(held.pop_all().close)
            return response

    return blueprint


def _server_sent(events: Iterator[StreamEvent | None]) -> Iterator[str]:
    try:
        for event in events:
            if event is None:
                yield ": waiting\n\n"
            elif isinstance(event, Result):
                yield _event("done", asdict(event))
            else:
                yield _event("token", asdict(Token(event.text)))
    except SightlineError as error:
        yield _event("error", error_body(error.code, str(error)))


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def read_caption_request(request: HttpRequest, settings: Settings) -> Request:
    """Return the model's request. Query fields win over form fields; unknown ones are ignored.

    Raises BadRequestError, FormTooLargeError, UnsupportedMediaTypeError and what `decode_image`
    raises.
    """
    with _READING:
        return _read(request, settings)


def _read(request: HttpRequest, settings: Settings) -> Request:
    data, form = _body(request)
    fields = read_caption_fields(CombinedMultiDict([request.args, form]), settings.max_tokens)
    frame = Frame(decode_image(data), fields.camera)
    return frame.request(fields.prompt, fields.max_tokens, fields.detail, fields.kind)


def _body(request: HttpRequest) -> tuple[bytes, MultiDict[str, str]]:
    """Return the picture and the fields of the form, if it is one."""
    if request.mimetype == "multipart/form-data":
        return _read_form(request)
    if request.mimetype in RAW_TYPES:
        return b"".join(_pieces(request, MAX_IMAGE_BYTES, _image_too_large())), MultiDict()
    if request.mimetype.startswith("image/"):
        raise UnsupportedImageError(
            f"{request.mimetype} is not accepted. Send the picture as JPEG, PNG or WebP."
        )
    raise UnsupportedMediaTypeError(
        f"Content-Type must be one of {', '.join(RAW_TYPES)}, or multipart/form-data with the "
        "image in the field `image`."
    )


def _read_form(request: HttpRequest) -> tuple[bytes, MultiDict[str, str]]:
    """Return the first file in the field `image`, and the fields without files, in their order."""
    picture: bytes | None = None
    fields: MultiDict[str, str] = MultiDict()
    try:
        for part, content in _parts(request):
            if not _is_file(part):
                charset = part.charset if part.charset in _FIELD_CHARSETS else "utf-8"
                fields.add(_name(part), content.decode(charset, "replace"))
            elif picture is None and _name(part) == "image":
                picture = content
    except ParserLimitReached:
        raise FormTooLargeError(_LONG_HEADERS_MESSAGE) from None
    except MultipartError:
        raise BadRequestError(_MALFORMED_MESSAGE) from None
    if picture is None:
        raise BadRequestError("The multipart body has no file in the field `image`.")
    return picture, fields


def _parts(request: HttpRequest) -> Iterator[tuple[MultipartSegment, bytes]]:
    """Yield each part of the form with its content.

    Each part and the whole have bounds of their own, so that it does not matter how the bytes were
    cut into pieces on their way. Raises MultipartError if the form is malformed or cut off.
    """
    whole = FormTooLargeError(too_many_bytes("The form", MAX_FORM_BYTES))
    count = 0
    with PushMultipartParser(
        request.mimetype_params.get("boundary", ""),
        max_header_count=MAX_PART_HEADERS,
        # The colon, a space and the end of the line are not counted.
        max_header_size=MAX_PART_HEADER_BYTES + 4,
        # Accepts every byte: names of files come in any encoding, and are not used.
        header_charset="latin-1",
    ) as parser:
        for piece in _pieces(request, MAX_FORM_BYTES, whole):
            for event in parser.parse(piece):
                if isinstance(event, MultipartSegment):
                    part, content, count = event, io.BytesIO(), count + 1
                    if count > MAX_FORM_PARTS:
                        raise FormTooLargeError(_MANY_PARTS_MESSAGE)
                    if any(len(n) + len(v) > MAX_PART_HEADER_BYTES for n, v in part.headerlist):
                        raise FormTooLargeError(_LONG_HEADERS_MESSAGE)
                elif event is None:
                    yield part, content.getvalue()
                else:
                    content.write(event)
                    _check_size(part)


def _check_size(part: MultipartSegment) -> None:
    if not _is_file(part):
        if part.bytes_received > MAX_FIELD_BYTES:
            named = f"The field `{_shown(part)}`"
            raise FormTooLargeError(too_many_bytes(named, MAX_FIELD_BYTES))
    elif part.bytes_received > MAX_IMAGE_BYTES:
        if _name(part) == "image":
            raise _image_too_large()
        named = f"The file in the field `{_shown(part)}`"
        raise FormTooLargeError(too_many_bytes(named, MAX_IMAGE_BYTES))


def _is_file(part: MultipartSegment) -> bool:
    # Older clients write a name that is not ASCII as `filename*`, which the parser does not know.
    return part.filename is not None or "filename*=" in part["Content-Disposition"]


def _name(part: MultipartSegment) -> str:
    return (part.name or "").encode("latin-1").decode("utf-8", "replace")


def _shown(part: MultipartSegment) -> str:
    return "".join(char for char in _name(part)[:_FIELD_SHOWN_CHARS] if char.isprintable())


def _image_too_large() -> ImageTooLargeError:
    return ImageTooLargeError(
        f"{too_many_bytes('The image', MAX_IMAGE_BYTES)} Make it smaller or compress it more."
    )


def _pieces(
    request: HttpRequest, most_bytes: int, too_large: ImageTooLargeError | FormTooLargeError
) -> Iterator[bytes]:
    """Yield the body in pieces of _PIECE_BYTES; raises `too_large` if it has over `most_bytes`."""
    if (request.content_length or 0) > most_bytes:
        raise too_large
    # One more byte shows that the body is too large, if its length was not announced.
    request.max_content_length = most_bytes + 1
    # Buffered: `read` of a stream may return less than requested.
    body = io.BufferedReader(cast(io.RawIOBase, request.stream), _PIECE_BYTES)
    received = 0
    while piece := body.read(min(_PIECE_BYTES, most_bytes + 1 - received)):
        received += len(piece)
        if received > most_bytes:
            raise too_large
        yield piece
