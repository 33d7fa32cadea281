"""A JSON object in the body of a request, with bounds."""

from __future__ import annotations

from typing import Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from vlm.errors import BadRequestError


def read_json_object(example: str, most_bytes: int = 4096) -> dict[str, Any]:
    """Return the body of the current request; raise BadRequestError, which shows `example`."""
    request.max_content_length = most_bytes
    try:
        body = request.get_json(force=True)
    except RequestEntityTooLarge:
        raise BadRequestError(f"At most {most_bytes} bytes are accepted here.") from None
    except (RecursionError, ValueError):
        body = None
    if not isinstance(body, dict):
        raise BadRequestError(f"Send JSON such as {example}.")
    return body
