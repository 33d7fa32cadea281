"""The web server: uvicorn over the Flask application, its listening socket and its orderly end."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from vlm.errors import SightlineError
from vlm.settings import Settings
from web.connections import IDLE_CONNECTION_S, MAX_HEADER_BYTES, Connections
from web.wsgi import WsgiFront

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# Threads beside those of captions, for the small models and changes of the model.
SPARE_THREADS = 8
# For the page, its files, the status and documents. More are no faster, since they take turns with
# Python's lock, and each that waits for it delays every token.
READING_THREADS = 2
CONNECTION_LIMIT = 2048
SPARE_CONNECTIONS = 64
# Open files beside connections: the model's own.
FILES_BESIDE = 640
# Python's select() on Windows takes 512.
WINDOWS_CONNECTION_LIMIT = 480
BACKLOG = 1024
# Ctrl-C ends the process within 2 s; a thread inside a model cannot be interrupted.
STOP_DEADLINE_S = 1.0
# Incomplete answers are cut this long after the end began.
STOP_GRACE_S = 0.5
# Programs of ordinary users may not listen on lower ports.
_FIRST_FREE_PORT = 1024
_WINDOWS_NOT_ALLOWED = 10013  # WSAEACCES


class ListenError(SightlineError):
    """The address cannot be listened on: taken, not of this machine, or not allowed."""

    code = "cannot_listen"


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket on `host` and `port` (0 picks a free one); raise ListenError."""
    try:
        family, *_, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except UnicodeError as error:
        raise ListenError(f"{host!r} is not a host name. Check --host.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = (
                f"Port {port} is taken, perhaps by another Sightline. End that program, or choose "
                "another port with --port."
            )
        elif error.errno in (errno.EACCES, errno.EPERM):
            message = _not_allowed(port, getattr(error, "winerror", None))
        else:
            message = f"Cannot listen on {host}: {error.strerror or error}. Check --host."
        raise ListenError(message) from error


def _not_allowed(port: int, windows_error: int | None) -> str:
    if windows_error == _WINDOWS_NOT_ALLOWED:
        return (
            f"Windows has reserved port {port} ({_WINDOWS_NOT_ALLOWED}). `netsh interface ipv4 "
            "show excludedportrange protocol=tcp` lists the reserved ones; choose another with "
            "--port, or --port 0 for a free one."
        )
    if 0 < port < _FIRST_FREE_PORT:
        return f"Port {port} is not allowed. Choose one above {_FIRST_FREE_PORT - 1} with --port."
    return (
        f"Port {port} is not allowed here; security software or a container may forbid it. Choose "
        "another with --port, or --port 0 for a free one."
    )


def page_url(listener: socket.socket) -> str:
    """Return the address of the page for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"


def is_open_to_others(listener: socket.socket) -> bool:
    """Return whether other machines can reach `listener`."""
    return not ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def warning_of_strangers(settings: Settings) -> str:
    """Return what other people on the network can do here."""
    can = ["open this page", "have pictures captioned"]
    if settings.trust_network:
        can += ["change the model", "read the metrics"]
    if settings.client_key_file is None:
        can.append("use /v1")
    return f"Warning: anyone on your network can {', '.join(can[:-1])} and {can[-1]}."


class Server:
    """Serves `app` in a thread of its own; the main thread is free for signals."""

    def __init__(
        self,
        app: WSGIApplication,
        listener: socket.socket,
        caption_limit: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Captions use at most `caption_limit` threads."""
        self.connections = Connections(_most_connections(), tls)
        self._listener = listener
        self._threads = ThreadPoolExecutor(caption_limit + SPARE_THREADS, "answer")
        self._reading = ThreadPoolExecutor(READING_THREADS, "read")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="server", daemon=True)
        config = uvicorn.Config(
            WsgiFront(app, self._threads, self._reading),
            interface="asgi3",
            # Called like a protocol class.
            http=self.connections.protocol,  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            # The application logs requests; WsgiFront logs errors.
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=IDLE_CONNECTION_S,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        )
        self._server = uvicorn.Server(config)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def run(self) -> None:
        """Serve until the main thread is interrupted."""
        self.start()
        try:
            # With a timeout: on Windows nothing interrupts a wait without one.
            while self._thread.is_alive():
                self._thread.join(STOP_GRACE_S)
        except KeyboardInterrupt:
            pass
        self.stop()

    def stop(self) -> None:
        """End the server when the answers in flight are complete, or after STOP_GRACE_S.

        The caller ends the streams.
        """
        with suppress(RuntimeError):  # The loop may have ended.
            self._loop.call_soon_threadsafe(self._end)
        self._thread.join()
        self._threads.shutdown(wait=False)
        self._reading.shutdown(wait=False)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._server.serve([self._listener]))
        finally:
            self._loop.close()

    def _end(self) -> None:
        self._server.should_exit = True
        self.connections.drop_all(with_busy=False)
        self._loop.call_later(STOP_GRACE_S, self.connections.drop_all, True)


def _most_connections() -> int:
    """Return how many connections this process can hold; raise its limit of open files for them."""
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
    """Let Ctrl-C and SIGTERM call `on_stop`, then raise KeyboardInterrupt in this thread.

    That ends a running server when the requests in flight have ended, which `on_stop` must cause.
    After STOP_DEADLINE_S the process ends in any case.
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
