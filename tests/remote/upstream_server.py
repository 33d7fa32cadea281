"""An OpenAI-compatible server on the loopback whose answers and faults a test chooses."""

from __future__ import annotations

import json
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "tiny-vlm"
TEXT = "A red circle."
GUARD_S = 60.0


# Into which pieces a body is cut.
Cut = Callable[[bytes], Iterable[bytes]]


def in_one_piece(body: bytes) -> Iterable[bytes]:
    """The body as it is."""
    return [body]


class Exchange:
    """One request for a completion, and the means to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes, cut: Cut) -> None:
        self._cut = cut
        self.headers = handler.headers
        self.client = handler.client_address
        self.body: dict[str, Any] = json.loads(body)
        self.hung_up = threading.Event()
        self._handler = handler
        self._is_stream = False

    def respond(
        self, status: int, content: object = None, headers: dict[str, str] | None = None
    ) -> None:
        """Send a whole answer that is not a stream: `content` as JSON, or these bytes."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._handler.send_response(status)
        for name, value in (headers or {}).items():
            self._handler.send_header(name, value)
        self._handler.send_header("Content-Length", str(len(body)))
        self._handler.end_headers()
        for piece in self._cut(body):
            self._handler.wfile.write(piece)

    def raw(self, data: bytes) -> None:
        """Send one chunk of the stream; an empty one ends it."""
        if not self._is_stream:
            self._is_stream = True
            self._handler.send_response(200)
            self._handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self._handler.send_header("Transfer-Encoding", "chunked")
            self._handler.end_headers()
        self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self._handler.wfile.flush()

    def event(self, data: object) -> None:
        """Send one event."""
        text = data if isinstance(data, str) else json.dumps(data)
        self.raw(f"data: {text}\n\n".encode())

    def text(self, text: str | None, **fields: Any) -> None:
        """Send an event with text."""
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None} | fields
        self.event({"object": "chat.completion.chunk", "choices": [choice]})

    def finish(self, reason: str = "stop", usage: object = None) -> None:
        """Send the finish reason, the usage and the end."""
        self.text(None, finish_reason=reason)
        if usage is not None:
            self.event({"choices": [], "usage": usage})
        self.event("[DONE]")
        self.end()

    def end(self) -> None:
        """End the stream as HTTP demands."""
        self.raw(b"")

    def cut(self) -> None:
        """Close the connection."""
        self._handler.close_connection = True

    def wait_for_hang_up(self) -> None:
        """Return when the client has closed the connection."""
        self._handler.connection.settimeout(GUARD_S)
        assert self._handler.connection.recv(1) == b""
        self.hung_up.set()


Behaviour = Callable[[Exchange], None]


def answer(exchange: Exchange) -> None:
    """Send a complete caption."""
    for text in ("A red", " circle", "."):
        exchange.text(text)
    exchange.finish(usage={"prompt_tokens": 80, "completion_tokens": 4, "total_tokens": 84})


def stall(exchange: Exchange) -> None:
    """Send one word, and nothing more until the client hangs up."""
    exchange.text("One")
    exchange.wait_for_hang_up()


class UpstreamServer:
    """Answers each completion by the next of `behaviours`, or by `behaviour` if none is left."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour: Behaviour = answer
        self.behaviours: deque[Behaviour] = deque()
        self.exchanges: list[Exchange] = []
        # Of lists and refusals; streams are cut by their behaviours.
        self.cut: Cut = in_one_piece
        self.lists = 0
        self.check_headers: Any = None
        self.list_status = 200
        # As its `Server` header has it.
        self.version = "tiny/1.0"
        self.models: object = {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                upstream.lists += 1
                upstream.check_headers = self.headers
                listed = upstream.models
                body = listed if isinstance(listed, bytes) else json.dumps(listed).encode()
                self.send_response(upstream.list_status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                for piece in upstream.cut(body):
                    self.wfile.write(piece)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                exchange = Exchange(self, body, upstream.cut)
                upstream.exchanges.append(exchange)
                behaviours = upstream.behaviours
                behaviour = behaviours.popleft() if behaviours else upstream.behaviour
                try:
                    behaviour(exchange)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                    exchange.hung_up.set()

            def version_string(self) -> str:
                return upstream.version

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = _Server(("127.0.0.1", port), Handler)
        if tls is not None:
            # The handshake is made by the thread of the request.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])
        self.origin = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self.base_url = f"{self.origin}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening and close all connections."""
        self._server.shutdown()
        self._thread.join(GUARD_S)
        self._server.close_connections()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *args: Any) -> None:
        self._connections: list[Any] = []
        super().__init__(*args)

    def get_request(self) -> Any:
        request = super().get_request()
        self._connections.append(request[0])
        return request

    def close_connections(self) -> None:
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that a test has closed."""


@contextmanager
def upstreams(count: int) -> Iterator[Sequence[UpstreamServer]]:
    """Yield `count` servers, and close them afterwards."""
    servers = [UpstreamServer() for _ in range(count)]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()
