"""One line of JSON for each HTTP request, written when its answer has ended in any way.

Frames, keys, cameras and addresses are never logged, prompts and captions only with `--log-text`.
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

from vlm.scheduler.queue import Stream
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.types import Outcome, Request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("sightline.requests")

# Pages and supervisors poll these every second or so, clients of Ollama's API twice a minute; only
# their failures are logged.
POLLED: Final = frozenset(
    {
        "/api/ps", "/api/status", "/api/tags", "/api/timeline", "/api/timeline/days",
        "/api/timeline/settings", "/healthz", "/metrics", "/static/<path:filename>",
    }
)  # fmt: skip

_ENVIRON_KEY: Final = "sightline.request_log"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_COUNTS: Final = ("tokens", "prompt_tokens", "image_tokens", "drafted", "accepted")
_STATS: Final = ("ttft_s", "queued_s", "total_s", *_COUNTS)


@dataclass
class RequestLog:
    """The log entry of one HTTP request; a route fills in what it knows."""

    method: str
    bytes_in: int | None
    began: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    began_s: float = field(default_factory=time.perf_counter)
    route: str | None = None
    """The rule that matched, None if none did."""
    status: int | None = None
    seconds: float | None = None
    bytes_out: int = 0
    error_code: str | None = None
    """Of the answer; an error inside a stream is in the record of the request."""
    model: str | None = None
    wants_answer: bool = False
    """Whether the route submits requests to the model."""
    ignored: tuple[str, ...] = ()
    """Names of fields of a chat that had no effect."""
    request: Request | None = None
    stream: Stream | None = None
    """Of the submitted request; its record says how that ended."""

    @property
    def outcome(self) -> Outcome | None:
        """Outcome of the model's request, None for a route without one."""
        if not self.wants_answer:
            return None
        record = self.stream.record if self.stream is not None else None
        return record.outcome if record is not None else "refused"

    @property
    def final_error_code(self) -> str | None:
        """The code of the answer's error, else of the one that ended its stream."""
        record = self.stream.record if self.stream is not None else None
        return self.error_code or (record.error_code if record is not None else None)

    def fields(self, with_text: bool) -> dict[str, object]:
        """Return the fields of the log line, without those that are unknown."""
        record = self.stream.record if self.stream is not None else None
        result = record.result if record is not None else None
        found: dict[str, object] = {
            "time": self.began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "seconds": self.seconds,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "outcome": self.outcome,
            "error_code": self.final_error_code,
            "kind": self.request.kind if self.request is not None else None,
            "finish_reason": result.finish_reason if result is not None else None,
            "model": self.model,
            "ignored": list(self.ignored) or None,
        }
        if result is not None:
            stats = asdict(result.stats)
            found |= {name: stats[name] for name in _STATS} | {"by": stats["by"]}
        if with_text and self.request is not None:
            found["prompt"] = "\n".join(self.request.task.texts)
            found["text"] = result.text if result is not None else None
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in found.items()
            if value is not None
        }


def request_log() -> RequestLog:
    """Return the log entry of the current HTTP request; a stream keeps it, having no context."""
    return cast(RequestLog, request.environ[_ENVIRON_KEY])


def install_request_log(
    app: Flask,
    settings: Settings,
    worker: Worker,
    on_end: Callable[[RequestLog], None] | None = None,
) -> None:
    """Give each HTTP request of `app` a RequestLog; pass each finished one to `on_end` and the log.

    Install it before everything that may refuse a request. Nothing is written before
    `write_request_log` was called.
    """

    def end(entry: RequestLog) -> None:
        info = worker.info
        if entry.outcome is not None and info is not None:
            entry.model = info.model
        if on_end is not None:
            on_end(entry)
        is_read = entry.method in ("GET", "HEAD") and (entry.status or 500) < 400
        polled = is_read and entry.route in POLLED
        if not polled and log.isEnabledFor(logging.INFO):
            log.info("request", extra={"fields": entry.fields(settings.log_text)})

    @app.before_request
    def set_route() -> None:
        request_log().route = request.url_rule.rule if request.url_rule else None

    app.wsgi_app = _Logged(app.wsgi_app, end)  # type: ignore[method-assign]


def write_request_log(settings: Settings) -> None:
    """Write this process's request log to stderr from now on, if `settings` say so."""
    if settings.log_requests == "off" or (settings.log_requests == "auto" and sys.stderr.isatty()):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


class JsonLines(logging.Formatter):
    """Formats the `fields` of a log record as one line of ASCII JSON."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(record.__dict__["fields"])


class _Logged:
    """The application, with a RequestLog for each request, passed to `end` when it has ended."""

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
    """The pieces of an answer, counted; the server closes it however the answer ends."""

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
