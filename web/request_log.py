"""One line of JSON for each HTTP request, written when its answer is over, however that came.

Frames, keys, cameras and addresses are never in it, prompts and captions only with `--log-text`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final, cast

from flask import Flask, request

from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import FinishReason, Outcome, Request, Result, Stats

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("sightline.requests")

# What pages and supervisors ask every second or so; told only where it fails.
POLLED: Final = frozenset({"/api/status", "/healthz", "/metrics", "/static/<path:filename>"})

_ENVIRON_KEY: Final = "sightline.request_log"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_COUNTS: Final = ("tokens", "prompt_tokens", "image_tokens", "drafted", "accepted")
_STATS: Final = ("ttft_s", "queued_s", "total_s", *_COUNTS)


@dataclass
class RequestLog:
    """What is told of one HTTP request; a route fills in what it knows.

    `route` is the rule that matched, None where none did. `outcome` is of requests for a caption
    alone: a route sets it to what holds if nothing better follows.
    """

    method: str
    bytes_in: int | None
    began: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    began_s: float = field(default_factory=time.perf_counter)
    route: str | None = None
    status: int | None = None
    seconds: float | None = None
    bytes_out: int = 0
    outcome: Outcome | None = None
    error_code: str | None = None
    live: bool | None = None
    finish_reason: FinishReason | None = None
    stats: Stats | None = None
    model: str | None = None
    prompt: str | None = None
    text: str | None = None

    def asked(self, asked: Request) -> None:
        """This is what the request is about."""
        self.live = asked.live
        parts = [part for message in asked.messages for part in message.parts]
        self.prompt = "\n".join(part for part in parts if isinstance(part, str))

    def done(self, item: Result) -> None:
        """The caption came to its end."""
        self.outcome = "done"
        self.finish_reason = item.finish_reason
        self.stats = item.stats
        self.text = item.text

    def failed(self, code: str) -> None:
        """The caption ended with an error of this code."""
        self.outcome = "superseded" if code == "superseded" else "failed"
        self.error_code = code

    def fields(self, with_text: bool) -> dict[str, object]:
        """What the line holds; without what is not known."""
        told: dict[str, object] = {
            "time": self.began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "seconds": self.seconds,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "outcome": self.outcome,
            "error_code": self.error_code,
            "kind": None if self.live is None else "live" if self.live else "question",
            "finish_reason": self.finish_reason,
            "model": self.model,
        }
        if self.stats is not None:
            stats = asdict(self.stats)
            told |= {name: stats[name] for name in _STATS}
        if with_text:
            told |= {"prompt": self.prompt, "text": self.text}
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in told.items()
            if value is not None
        }


def request_log() -> RequestLog:
    """That of the request whose context this is. A stream keeps it, having no context later."""
    return cast(RequestLog, request.environ[_ENVIRON_KEY])


def install_request_log(
    app: Flask,
    settings: Settings,
    worker: Worker,
    on_end: Callable[[RequestLog], None] | None = None,
) -> None:
    """Give each request of `app` its RequestLog, and `on_end` and the log each that is over.

    To be installed before whatever may refuse a request. Nothing is written until
    `write_request_log` has been called.
    """

    def end(entry: RequestLog) -> None:
        info = worker.info
        if entry.outcome is not None and info is not None:
            entry.model = info.model
        if on_end is not None:
            on_end(entry)
        polled = entry.route in POLLED and (entry.status or 500) < 400
        if not polled and log.isEnabledFor(logging.INFO):
            log.info("request", extra={"fields": entry.fields(settings.log_text)})

    @app.before_request
    def tell_route() -> None:
        request_log().route = request.url_rule.rule if request.url_rule else None

    app.wsgi_app = _Logged(app.wsgi_app, end)  # type: ignore[method-assign]


def write_request_log(settings: Settings) -> None:
    """From here on this process writes its request log to stderr, where `settings` ask for it."""
    if settings.log_requests == "off" or (settings.log_requests == "auto" and sys.stderr.isatty()):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


class JsonLines(logging.Formatter):
    """The `fields` of a record as one line of ASCII, which no text in them can break."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(record.__dict__["fields"])


class _Logged:
    """The application, with a RequestLog for each request, given to `end` when all is over."""

    def __init__(self, app: WSGIApplication, end: Callable[[RequestLog], None]) -> None:
        self._app = app
        self._end = end

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        length = environ.get("CONTENT_LENGTH", "")
        entry = RequestLog(
            method if method in _METHODS else "other", int(length) if length.isdecimal() else None
        )
        environ[_ENVIRON_KEY] = entry

        def start(status: str, *rest: object) -> Callable[[bytes], object]:
            entry.status = int(status[:3])
            return start_response(status, *rest)  # type: ignore[arg-type]

        return _Body(self._app(environ, start), entry, self._end)


class _Body:
    """The pieces of an answer, counted; the server closes it however the answer ended."""

    def __init__(
        self, pieces: Iterable[bytes], entry: RequestLog, end: Callable[[RequestLog], None]
    ) -> None:
        self._pieces = pieces
        self._entry = entry
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._entry.bytes_out += len(piece)
            yield piece

    def close(self) -> None:
        try:
            close = getattr(self._pieces, "close", None)
            if close is not None:
                close()
        finally:
            self._entry.seconds = time.perf_counter() - self._entry.began_s
            self._end(self._entry)
