"""Reads what the worker makes, for a client who may hang up and a server that may be ending."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import cast

from flask import Request

from vlm.scheduler.stream import Stream
from vlm.types import Result, StreamEvent
from web.admission import Admission
from web.errors import StoppingError
from web.request_log import RequestLog

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

    It just ends where the client has gone. Raises the SightlineError that ended the stream, and
    StoppingError where the server ends, which `entry` is told.
    """
    last_came = time.monotonic()
    while not client_gone():
        if admission.stopping:
            entry.error_code = StoppingError.code
            raise StoppingError("The server is shutting down.")
        item = stream.next(timeout_s=POLL_S)
        if isinstance(item, Result):
            yield item
            return
        if item is None and time.monotonic() - last_came < KEEPALIVE_S:
            continue
        last_came = time.monotonic()
        yield item


def _never() -> bool:
    return False
