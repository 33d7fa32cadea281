"""The form that errors have under /v1, which is OpenAI's: message, type, param and code."""

from __future__ import annotations

from typing import Final

from vlm.errors import SightlineError

# One image of the largest size in base64, and words; less than what the server itself takes, so
# that a client gets to read the refusal.
MAX_BODY_BYTES: Final = 12 * 2**20
TOO_LARGE_MESSAGE: Final = (
    f"At most {MAX_BODY_BYTES // 2**20} MiB are taken. Send fewer or smaller images."
)


class FieldError(SightlineError):
    """A request under /v1 is refused with `status` because of its field `param`, if it has one."""

    def __init__(
        self, message: str, param: str | None, code: str = "invalid_value", status: int = 400
    ) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status


def is_openai_path(path: str) -> bool:
    """Whether what is at `path` speaks as OpenAI's API does."""
    return path == "/v1" or path.startswith("/v1/")


def openai_error_body(
    code: str, message: str, status: int, param: str | None = None
) -> dict[str, dict[str, str | None]]:
    """An error in OpenAI's form, in answers and in stream events alike."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
