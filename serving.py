"""The production WSGI server (waitress): its limits, its errors as JSON, and its orderly end."""

from __future__ import annotations

import errno
import ipaddress
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask

from routes.errors import error_body_at, too_large_message
from vlm.errors import SightlineError

# Twice what a caption request may hold: up to here the body is read, so that the client gets to
# read the refusal too; beyond it the connection is cut after the answer, whatever is still coming.
MAX_BODY_BYTES = 16 * 2**20
MAX_HEADER_BYTES = 32 * 2**10
# Threads beside those that captions hold, for the page, its files and the status.
SPARE_THREADS = 8
CONNECTION_LIMIT = 512
IDLE_CONNECTION_S = 30
# Ctrl-C promises an end within 2 s; a thread deep inside a model cannot be interrupted.
STOP_DEADLINE_S = 1.0

_CODE_OF_STATUS = {413: "image_too_large", 431: "bad_request", 400: "bad_request"}


class ListenError(SightlineError):
    """The address cannot be listened on: taken, not of this machine, or not allowed."""

    code = "cannot_listen"


class _JsonErrorTask(ErrorTask):  # type: ignore[misc]
    """Answers what waitress refuses by itself in the same form as all other errors."""

    def execute(self) -> None:
        error = self.request.error
        code = _CODE_OF_STATUS.get(error.code, "internal")
        # What cannot be read as a request has no path.
        path = getattr(self.request, "path", "")
        is_too_large = error.code == 413
        message = too_large_message(path) if is_too_large else f"{error.reason}: {error.body}."
        body = json.dumps(error_body_at(path, code, message, error.code)).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _JsonErrorChannel(HTTPChannel):  # type: ignore[misc]
    error_task_class = _JsonErrorTask


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on `host` and `port` (0 takes a free one); raises ListenError."""
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except UnicodeError as error:
        raise ListenError(f"{host!r} is not a host name. Check --host.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = (
                f"Port {port} is taken, perhaps by another Sightline. End that program, or choose "
                "another port with --port."
            )
        elif error.errno in (errno.EACCES, errno.EPERM):
            message = f"Port {port} is not allowed. Choose one above 1023 with --port."
        else:
            message = f"Cannot listen on {host}: {error.strerror or error}. Check --host."
        raise ListenError(message) from error


def page_url(listener: socket.socket) -> str:
    """Where a browser on this machine finds what listens on `listener`."""
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


def is_open_to_others(listener: socket.socket) -> bool:
    """Whether other machines can reach what listens on `listener`."""
    return not ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def make_server(app: Flask, listener: socket.socket, caption_limit: int) -> BaseWSGIServer:
    """A server for `app` with threads for `caption_limit` streams and all else beside them."""
    # Its warnings are about a queue that the admission bounds, and about clients that hang up.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    server = create_server(
        app,
        sockets=[listener],
        threads=caption_limit + SPARE_THREADS,
        # Reading on while a request is answered is how a hang-up is noticed.
        channel_request_lookahead=1,
        max_request_body_size=MAX_BODY_BYTES,
        max_request_header_size=MAX_HEADER_BYTES,
        connection_limit=CONNECTION_LIMIT,
        asyncore_use_poll=True,
        channel_timeout=IDLE_CONNECTION_S,
        cleanup_interval=IDLE_CONNECTION_S // 3,
        ident=None,
    )
    server.channel_class = _JsonErrorChannel
    return server


def end_on_signals(on_stop: Callable[[], None]) -> None:
    """From here on Ctrl-C and SIGTERM call `on_stop`, then raise KeyboardInterrupt in this thread.

    That ends a running server once the requests under way have ended, which `on_stop` must bring
    about. Where it takes longer than STOP_DEADLINE_S the process is ended from here.
    """

    def stop(signal_number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        deadline = threading.Timer(STOP_DEADLINE_S, os._exit, [0])
        deadline.daemon = True
        deadline.start()
        on_stop()
        raise KeyboardInterrupt

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)
