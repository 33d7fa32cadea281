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
from contextlib import suppress
from types import FrameType

from flask import Flask
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from vlm.errors import SightlineError
from web.errors import body_too_large_code, error_body_at, too_many_bytes

# Twice what a caption request may hold: up to here the body is read, so that the client gets to
# read the refusal too; beyond it the connection is cut after the answer, whatever is still coming.
MAX_BODY_BYTES = 16 * 2**20
MAX_HEADER_BYTES = 32 * 2**10
# Threads beside those that captions hold, for the page, its files and the status.
SPARE_THREADS = 8
CONNECTION_LIMIT = 2048
SPARE_CONNECTIONS = 64
# Open files beside those of connections: bodies in temporary files, the model's own.
FILES_BESIDE = 640
# Python's select() on Windows takes 512.
WINDOWS_CONNECTION_LIMIT = 480
IDLE_CONNECTION_S = 30
# From its first byte to its last, however slowly it trickles: 8 MiB at 1.2 Mbit/s.
REQUEST_DEADLINE_S = 60
# Of all requests together that have begun and are not whole.
MAX_UNFINISHED_BYTES = 256 * 2**20
CLEANUP_INTERVAL_S = 5
# Ctrl-C promises an end within 2 s; a thread deep inside a model cannot be interrupted.
STOP_DEADLINE_S = 1.0

_CODE_OF_STATUS = {431: "bad_request", 400: "bad_request"}


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
        message = f"{error.reason}: {error.body}."
        if error.code == 413:
            code = body_too_large_code(path, self.request.headers.get("CONTENT_TYPE", ""))
            message = too_many_bytes("The body, as it was sent,", MAX_BODY_BYTES)
        elif error.code == 431:
            message = too_many_bytes(
                "The request's head, of address and headers,", MAX_HEADER_BYTES
            )
        body = json.dumps(error_body_at(path, code, message, error.code)).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that knows for how long it has been in the middle of a request."""

    error_task_class = _JsonErrorTask
    unfinished_bytes = 0
    _unfinished: object = None
    _unfinished_since_s = 0.0

    @property
    def quiet_since_s(self) -> float:
        """Since when nothing whole has come, where nothing is being answered."""
        return self._unfinished_since_s if self._unfinished else self.last_activity

    def is_overdue(self, now_s: float) -> bool:
        """Whether the connection idles for too long, or a request takes too long to come."""
        if self.requests:
            return False
        is_late = self._unfinished and now_s - self._unfinished_since_s > REQUEST_DEADLINE_S
        return bool(is_late) or now_s - self.last_activity > IDLE_CONNECTION_S

    def received(self, data: bytes) -> bool:
        """See HTTPChannel."""
        taken: bool = super().received(data)
        request = self.request
        if request is not self._unfinished:
            self._unfinished, self._unfinished_since_s = request, self.last_activity
        held_bytes = 0 if self.will_close or request is None else request.body_bytes_received
        self.server.unfinished_bytes += held_bytes - self.unfinished_bytes
        self.unfinished_bytes = held_bytes
        if self.server.unfinished_bytes > MAX_UNFINISHED_BYTES:
            self.server.cut_quietest(least_bytes=1)
        return taken

    def give_up(self) -> None:
        """Have the connection closed in the loop's next round, and no longer count its bytes."""
        self.will_close = True
        self.server.unfinished_bytes -= self.unfinished_bytes
        self.unfinished_bytes = 0

    def del_channel(self, map: dict[int, object] | None = None) -> None:
        """See HTTPChannel."""
        super().del_channel(map)
        self.give_up()
        if self.request is not None:
            self.request.close()


class _Server(TcpWSGIServer):  # type: ignore[misc]
    """Whoever opens connections and leaves them hanging only takes the place of their like."""

    channel_class = _Channel
    unfinished_bytes = 0
    most_connections = CONNECTION_LIMIT

    def handle_accept(self) -> None:
        """See BaseWSGIServer."""
        if len(self.active_channels) >= self.most_connections:
            self.cut_quietest()
        super().handle_accept()

    def cut_quietest(self, least_bytes: int = 0) -> None:
        """Give up the connection that has long been without a whole request; none in use."""
        quiet = [
            channel
            for channel in self.active_channels.values()
            if not (channel.requests or channel.will_close or channel.total_outbufs_len)
            and channel.unfinished_bytes >= least_bytes
        ]
        if quiet:
            min(quiet, key=lambda channel: channel.quiet_since_s).give_up()

    def maintenance(self, now: float) -> None:
        """Give up connections that idle or trickle; every CLEANUP_INTERVAL_S."""
        for channel in self.active_channels.values():
            if channel.is_overdue(now):
                channel.give_up()


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
    most_connections = _most_connections()
    adjustments = Adjustments(
        sockets=[listener],
        threads=caption_limit + SPARE_THREADS,
        # Reading on while a request is answered is how a hang-up is noticed.
        channel_request_lookahead=1,
        # It refuses what reaches its bounds.
        max_request_body_size=MAX_BODY_BYTES + 1,
        max_request_header_size=MAX_HEADER_BYTES + 1,
        # Where the server makes no more room itself: all connections are in use.
        connection_limit=most_connections + SPARE_CONNECTIONS,
        asyncore_use_poll=True,
        cleanup_interval=CLEANUP_INTERVAL_S,
        ident=None,
    )
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(adjustments.threads)
    server = _Server(
        app,
        {},
        _sock=listener,
        dispatcher=dispatcher,
        adj=adjustments,
        sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        bind_socket=False,
    )
    server.most_connections = most_connections
    return server


def _most_connections() -> int:
    """How many connections this process can hold, once it may open as many files as it can get."""
    try:
        import resource
    except ImportError:
        return WINDOWS_CONNECTION_LIMIT
    wanted = CONNECTION_LIMIT + SPARE_CONNECTIONS + FILES_BESIDE
    files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = wanted if most_files == resource.RLIM_INFINITY else min(wanted, most_files)
    if files != resource.RLIM_INFINITY and files < reachable:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, most_files))
            files = reachable
    if files == resource.RLIM_INFINITY or files >= wanted:
        return CONNECTION_LIMIT
    return max(SPARE_CONNECTIONS, files - SPARE_CONNECTIONS - FILES_BESIDE)


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
