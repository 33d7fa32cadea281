"""An OpenAI-compatible server on the loopback that misbehaves as a test asks it to."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "tiny-vlm"
GUARD_S = 60.0


class Exchange:
    """One request for a completion: what was asked, and what is answered."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.headers = handler.headers
        self.client = handler.client_address
        self.body: dict[str, Any] = json.loads(body)
        self.hung_up = threading.Event()
        self._handler = handler
        self._is_stream = False

    def refuse(
        self, status: int, said: object = None, headers: dict[str, str] | None = None
    ) -> None:
        """A whole answer that is no stream."""
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        self._handler.send_response(status)
        for name, value in (headers or {}).items():
            self._handler.send_header(name, value)
        self._handler.send_header("Content-Length", str(len(body)))
        self._handler.end_headers()
        self._handler.wfile.write(body)

    def raw(self, data: bytes) -> None:
        """These very bytes of the stream."""
        if not self._is_stream:
            self._is_stream = True
            self._handler.send_response(200)
            self._handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self._handler.send_header("Transfer-Encoding", "chunked")
            self._handler.end_headers()
        self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self._handler.wfile.flush()

    def event(self, data: object) -> None:
        """One event."""
        text = data if isinstance(data, str) else json.dumps(data)
        self.raw(f"data: {text}\n\n".encode())

    def text(self, text: str | None, **what: Any) -> None:
        """A chunk with text."""
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None} | what
        self.event({"object": "chat.completion.chunk", "choices": [choice]})

    def finish(self, reason: str = "stop", usage: object = None) -> None:
        """Why it ended, what it cost, and the end."""
        self.text(None, finish_reason=reason)
        if usage is not None:
            self.event({"choices": [], "usage": usage})
        self.event("[DONE]")
        self.end()

    def end(self) -> None:
        """The proper end of the stream."""
        self.raw(b"")

    def cut(self) -> None:
        """The connection breaks off."""
        self._handler.close_connection = True

    def wait_for_hang_up(self) -> None:
        """Returns when the client has closed the connection."""
        self._handler.connection.settimeout(GUARD_S)
        assert self._handler.connection.recv(1) == b""
        self.hung_up.set()


Behaviour = Callable[[Exchange], None]


def well(exchange: Exchange) -> None:
    """A whole caption."""
    for text in ("A red", " circle", "."):
        exchange.text(text)
    exchange.finish(usage={"prompt_tokens": 80, "completion_tokens": 4, "total_tokens": 84})


def hold_on(exchange: Exchange) -> None:
    """One word, and then nothing until the client hangs up."""
    exchange.text("One")
    exchange.wait_for_hang_up()


class UpstreamServer:
    """Answers each completion by the next of `behaviours`, or by `behaviour` where none is left."""

    def __init__(self, port: int = 0) -> None:
        self.behaviour: Behaviour = well
        self.behaviours: deque[Behaviour] = deque()
        self.exchanges: list[Exchange] = []
        self.checks = 0
        self.check_headers: Any = None
        self.list_status = 200
        self.listed: object = {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                upstream.checks += 1
                upstream.check_headers = self.headers
                body = json.dumps(upstream.listed).encode()
                self.send_response(upstream.list_status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                exchange = Exchange(self, body)
                upstream.exchanges.append(exchange)
                behaviours = upstream.behaviours
                behaviour = behaviours.popleft() if behaviours else upstream.behaviour
                try:
                    behaviour(exchange)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True
                    exchange.hung_up.set()

            def log_message(self, *_: object) -> None:
                """Nothing is logged."""

        self._server = _Server(("127.0.0.1", port), Handler)
        self.port = int(self._server.server_address[1])
        self.origin = f"http://127.0.0.1:{self.port}"
        self.base_url = f"{self.origin}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Listens no more, and breaks its connections off."""
        self._server.shutdown()
        self._thread.join(GUARD_S)
        self._server.break_off()
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

    def break_off(self) -> None:
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was broken off on purpose is nothing to tell of."""


@contextmanager
def upstreams(count: int) -> Iterator[Sequence[UpstreamServer]]:
    """So many servers, ended afterwards."""
    servers = [UpstreamServer() for _ in range(count)]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()
