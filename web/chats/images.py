"""The images of a request: data URIs in base64, as strictly or loosely as programs write them.

Nothing is fetched from an address.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Final, get_args
from urllib.parse import unquote

from PIL import Image

from vlm.errors import BadImageError, ImageTooLargeError, UnsupportedImageError
from vlm.images.decode import MAX_IMAGE_BYTES, decode_image
from vlm.types import Detail
from web.errors import FieldError, FieldTooLargeError, too_many_bytes

MAX_IMAGES: Final = 64
# Of all images of a request: five photographs of a phone, or sixteen of a megapixel. Decoded, they
# take 48 MiB while they wait in the queue.
MAX_PIXELS_TOGETHER: Final = 16 * 2**20

_DATA_URI: Final = re.compile(r"\s*data:[^,]{0,256};\s*base64\s*,", re.IGNORECASE)
# Base64 by itself; an address has a colon or a dot.
_BARE: Final = re.compile(r"[A-Za-z0-9+/_\-\s]+={0,2}\s*")
_URLSAFE: Final = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE: Final = b" \t\r\n\f\v"
# Names of a detail; the last two are OpenAI's.
_DETAILS: Final[dict[str, Detail]] = {
    **{each: each for each in get_args(Detail)},
    "auto": "low",
    "original": "high",
}
_BY_PIXELS: Final[tuple[Detail, ...]] = get_args(Detail)


class ImageReader:
    """Decodes the images of one request, within the bounds of all of them together."""

    def __init__(self, is_cancelled: Callable[[], bool]) -> None:
        self.ignored: list[str] = []
        """Names of fields that had no effect."""
        self._details: set[Detail] = set()
        self._is_cancelled = is_cancelled
        self._images = 0
        self._pixels = 0

    @property
    def detail(self) -> Detail:
        """The most pixels that an image is to be read with: a request has one detail."""
        return max(self._details, key=_BY_PIXELS.index, default="low")

    def read(self, url: str, detail: str | None, param: str) -> Image.Image:
        """Return the decoded image; raises FieldError for the field `param`."""
        if detail is not None and detail not in _DETAILS:
            self.ignored.append("detail")
        self._details.add(_DETAILS.get(detail or "auto", "low"))
        self._images += 1
        if self._images > MAX_IMAGES:
            raise FieldError(f"At most {MAX_IMAGES} images are accepted.", param, "too_many_images")
        try:
            image = decode_image(_image_bytes(url, param), self._is_cancelled)
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


def _image_bytes(url: str, param: str) -> bytes:
    """Return the bytes in a data URI, or in base64 by itself.

    Letter case, white space, line breaks, the urlsafe alphabet, percent signs and missing padding
    do not matter.
    """
    start = _DATA_URI.match(url)
    if start is None and not _BARE.fullmatch(url):
        raise FieldError(
            f"`{param}` must be base64, best in a data URI: data:image/jpeg;base64,... Addresses "
            "are not fetched: send the image itself.",
            param,
        )
    encoded = url[start.end() if start else 0 :]
    if "%" in encoded:
        encoded = unquote(encoded)
    try:
        clean = encoded.encode("ascii").translate(_URLSAFE, _WHITE_SPACE).rstrip(b"=")
        if len(clean) * 3 // 4 > MAX_IMAGE_BYTES + 2:
            raise ImageTooLargeError(
                f"{too_many_bytes('The image', MAX_IMAGE_BYTES)} Make it smaller or compress it "
                "more."
            )
        return base64.b64decode(clean + b"=" * (-len(clean) % 4), validate=True)
    except ValueError:
        raise FieldError(
            "The data URI is not base64 after its comma (A-Z, a-z, 0-9, + and /, padded with =).",
            param,
            "invalid_base64",
        ) from None
