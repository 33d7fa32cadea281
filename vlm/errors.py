"""The errors of this package. Each message is for users, and says what they can do."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator


class SightlineError(Exception):
    """Base of all errors that are raised on purpose."""

    # For programs; it does not change between releases.
    code = "error"
    # Whole seconds, at least 1, after which a retry makes sense; None if waiting does not help.
    retry_after_s: int | None = None


class BadImageError(SightlineError):
    """The bytes are not an image, or a truncated or damaged one."""

    code = "bad_image"


class NotAnImageError(BadImageError):
    """The bytes are of no known format."""


class ImageTooLargeError(SightlineError):
    """The image has more bytes or pixels than the server accepts."""

    code = "image_too_large"


class UnsupportedImageError(SightlineError):
    """An image in an unsupported format (GIF, SVG, TIFF; HEIC without `pi-heif`)."""

    code = "unsupported_image"


class BadRequestError(SightlineError):
    """A parameter is missing, malformed or out of its range."""

    code = "bad_request"
    # The field of a chat that is wrong.
    chat_field = "messages"


class FormError(BadRequestError):
    """Answers cannot have the form that was demanded, or it is too complex."""

    chat_field = "response_format"


class LogitBiasError(BadRequestError):
    """A token that is to have a bias does not exist."""

    chat_field = "logit_bias"


class NotSupportedError(SightlineError):
    """What runs the model cannot do what was asked for; the message says what can."""

    code = "not_supported"


class BusyError(SightlineError):
    """The queue is full."""

    code = "busy"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class SupersededError(SightlineError):
    """A newer frame of the same camera has replaced this live frame in the queue."""

    code = "superseded"


class StreamClosedError(SightlineError):
    """The stream was closed while it was read: the client disconnected, or the server stops."""

    code = "closed"


class NotReadyError(SightlineError):
    """The model is still loading."""

    code = "loading"
    retry_after_s = 2


class ModelFailedError(SightlineError):
    """The model could not be loaded; the message says why and what to do."""

    code = "model_failed"


class PartOffError(SightlineError):
    """A small model (detector, classifier or reader) is switched off by a setting."""

    code = "part_off"


class PartFailedError(SightlineError):
    """A small model could not be loaded, or failed on a frame; the message says which and why."""

    code = "part_failed"


class TimelineError(SightlineError):
    """The timeline cannot be read or written; the message says why."""

    code = "timeline_failed"


class UnknownMomentError(SightlineError):
    """The timeline has no such moment, picture or deletion, or not any more."""

    code = "unknown_moment"


class CheckpointError(SightlineError):
    """A checkpoint folder is incomplete or not of the SmolVLM architecture."""

    code = "bad_checkpoint"


class SettingsError(SightlineError):
    """A command-line flag or a SIGHTLINE_ variable has a value that cannot be used."""

    code = "bad_settings"


class GenerationError(SightlineError):
    """A forward pass failed; the request is lost, the server goes on."""

    code = "generation_failed"


class DeviceFailedError(GenerationError):
    """An accelerator or its driver failed in a pass; the message is the driver's own.

    `vlm.runtimes.accelerator` has words for people.
    """


class UnknownModelError(SightlineError):
    """The requested model is not in the list of models."""

    code = "unknown_model"


class SwitchingError(SightlineError):
    """Another model is being downloaded or loaded."""

    code = "switching"


class OfflineError(SightlineError):
    """The model would have to be downloaded, and --offline forbids that."""

    code = "offline"


class FetchError(SightlineError):
    """A model cannot be downloaded; the message says why and what to do."""

    code = "fetch_failed"


class ModelTooLargeError(SightlineError):
    """The model needs more memory than is free."""

    code = "model_too_large"


class FetchCancelledError(FetchError):
    """A user cancelled the download; the received part is kept."""

    code = "cancelled"


class DiskFullError(FetchError):
    """The disk is too small for the model; incomplete files are removed."""

    code = "disk_full"


class ReaderUnavailableError(SightlineError):
    """The reader of text cannot be loaded; the message is a reason of one line."""

    code = "reader_unavailable"


class UpstreamError(SightlineError):
    """A server that runs the model gave no complete answer; the message says which and why."""

    code = "upstream_failed"


class UpstreamDownError(UpstreamError):
    """No server that runs the model can be reached, or one closed the connection too early."""

    code = "upstream_down"


class UpstreamTimeoutError(UpstreamError):
    """A server that runs the model took too long."""

    code = "upstream_timeout"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error`, the parts of a group (one for each address that was tried), and its causes."""
    while error is not None:
        yield error
        for part in getattr(error, "exceptions", ()):
            yield from causes(part)
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    """Return the first line of the error's message, without its full stop, else its class.

    OpenVINO's messages begin with lines about its own source; those are skipped.
    """
    lines = [
        line for line in str(error).splitlines() if line.strip() and "Exception from" not in line
    ]
    return (lines or [type(error).__name__])[0].rstrip(".")


def parse_retry_after(value: str) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date; None if it is neither."""
    value = value.strip()
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
