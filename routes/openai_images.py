"""The pictures of a chat: out of their data URIs, within bounds, decoded."""

from __future__ import annotations

import base64
from typing import Final

from PIL import Image

from routes.openai_errors import FieldError
from vlm.errors import BadImageError, ImageTooLargeError, UnsupportedImageError
from vlm.images import MAX_IMAGE_BYTES, decode_image

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
                f"The images have more than {MAX_PIXELS_TOGETHER // 10**6} million pixels "
                "together. Make them smaller.",
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
