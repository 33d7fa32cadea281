"""Reads what the worker makes, for a client who may hang up and a server that may be ending."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import cast

from flask import Request

from vlm.errors import SightlineError
from vlm.scheduler.stream import Stream
from vlm.types import Result, StreamEvent
from web.admission import Admission
from web.errors import InternalError, StoppingError
from web.request_log import RequestLog

log = logging.getLogger("sightline")

# How soon a hang-up is noticed while the model has nothing to say yet (queue, prefill).
POLL_S = 0.1
KEEPALIVE_S = 1.0


def hang_up_check(request: Request) -> Callable[[], bool]:
    """Tells whether the client of `request` has gone, as far as the server can know."""
    return cast(Callable[[], bool], request.environ.get("waitress.client_disconnected", _never))


def read_caption(
    stream: Stream,
    admission: Admission,
    client_gone: Callable[[], bool],
    entry: RequestLog,
) -> Iterator[StreamEvent | None]:
    """The items of `stream`, the Result last; None about each KEEPALIVE_S without any.

    It just ends where the client has gone. Raises the SightlineError that ended the stream,
    InternalError for one that nobody foresaw, StoppingError where the server ends. `entry` is told
    how it went.
    """
    last_came = time.monotonic()
    while not client_gone():
        if admission.stopping:
            entry.error_code = StoppingError.code
            raise StoppingError("The server is shutting down.")
        try:
            item = stream.next(timeout_s=POLL_S)
        except SightlineError as error:
            entry.failed(error.code)
            raise
        except Exception as error:
            log.error("Unforeseen error in a caption stream", exc_info=error)
            entry.failed(InternalError.code)
            raise InternalError() from None
        if isinstance(item, Result):
            entry.done(item)
            yield item
            return
        if item is None and time.monotonic() - last_came < KEEPALIVE_S:
            continue
        last_came = time.monotonic()
        yield item


def _never() -> bool:
    return False
