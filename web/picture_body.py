"""A picture in the body of a request, or in a form with fields beside it; both with bounds."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from typing import Final, TypeVar, cast

from flask import Request as HttpRequest
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from PIL import Image
from werkzeug.datastructures import CombinedMultiDict, MultiDict

from vlm.errors import BadRequestError, ImageTooLargeError, NotAnImageError
from vlm.images.decode import MAX_IMAGE_BYTES, decode_image
from web.errors import FormTooLargeError, UnsupportedMediaTypeError, too_many_bytes
from web.streaming import Place
from web.wsgi import watch_client

# The documented types of a body that is the image itself; any other is accepted for an image too.
RAW_TYPES: Final = (
    "image/jpeg",
    "image/png",
    "image/webp",
    "image/avif",
    "application/octet-stream",
)

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
_TYPES_OF_ANYTHING: Final = (
    "",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "binary/octet-stream",
)
_NO_PICTURE_MESSAGE: Final = (
    f"The body is not a picture. Send one as the body ({', '.join(RAW_TYPES)}), or as "
    "multipart/form-data with the picture as a file in the field `image`."
)
_MALFORMED_MESSAGE: Final = (
    "The multipart body is malformed or cut off. Send the picture as a file in the field `image`."
)
# A form is copied while it is read, so few are read at once; decoding has bounds of its own.
# Complete requests arrive here, so a slow client holds no place.
_READING: Final = threading.BoundedSemaphore(4)

Fields = TypeVar("Fields")


def read_picture(
    request: HttpRequest, read_fields: Callable[[MultiDict[str, str]], Fields], place: Place
) -> tuple[Image.Image, Fields]:
    """Return the decoded picture of `request` and what `read_fields` makes of its fields.

    A field in the query takes precedence over one in the form. The picture is decoded only if the
    fields are valid. `place` holds the bytes of the body, then those of the picture. Raises
    FormTooLargeError, UnsupportedMediaTypeError, BusyError, and what `read_fields` and
    `decode_image` raise.
    """
    place.hold(request.content_length or 0)
    with _READING:
        data, form = _read_body(request)
    fields = read_fields(CombinedMultiDict([request.args, form]))
    try:
        image = decode_image(data, watch_client(request.environ))
    except NotAnImageError:
        if _may_be_picture(request.mimetype):
            raise
        raise UnsupportedMediaTypeError(_NO_PICTURE_MESSAGE) from None
    place.hold_images([image])
    return image, fields


def _read_body(request: HttpRequest) -> tuple[bytes, MultiDict[str, str]]:
    """Return the picture and the fields of the form, if it is one."""
    if request.mimetype == "multipart/form-data":
        return _read_form(request)
    return b"".join(_pieces(request, MAX_IMAGE_BYTES, _image_too_large())), MultiDict()


def _may_be_picture(mimetype: str) -> bool:
    """Return whether a body of this type can be an image; curl sends each body as a web form's."""
    return mimetype in _TYPES_OF_ANYTHING or mimetype.startswith(("image/", "multipart/form-data"))


def _read_form(request: HttpRequest) -> tuple[bytes, MultiDict[str, str]]:
    """Return the first file in the field `image`, and the fields without files, in their order.

    A file in another field is the picture if there is no other file.
    """
    picture: bytes | None = None
    others: list[bytes] = []
    fields: MultiDict[str, str] = MultiDict()
    try:
        for part, content in _parts(request):
            if not _is_file(part):
                charset = part.charset if part.charset in _FIELD_CHARSETS else "utf-8"
                fields.add(_name(part), content.decode(charset, "replace"))
            elif _name(part) != "image":
                others.append(content)
            elif picture is None:
                picture = content
    except ParserLimitReached:
        raise FormTooLargeError(_LONG_HEADERS_MESSAGE) from None
    except MultipartError:
        raise BadRequestError(_MALFORMED_MESSAGE) from None
    if picture is None and len(others) == 1:
        picture = others[0]
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
