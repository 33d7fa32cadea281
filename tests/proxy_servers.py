"""Proxies on loopback: SOCKS5, and HTTP with CONNECT, which lead every connection to one port.

with SocksProxy(hub.port) as proxy:
    monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxy.port}")
"""

from __future__ import annotations

import base64
import select
import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO

Login = tuple[str, str]

_NO_LOGIN, _PASSWORD, _NONE_ACCEPTED = 0, 2, 0xFF
_DOMAIN, _IPV4 = 3, 1


class _Proxy:
    """Accepts connections in threads; each leads to `target_port` whatever host it names."""

    def __init__(self, target_port: int, login: Login | None = None) -> None:
        self.target_port = target_port
        self.login = login
        self.hosts: list[str] = []  # asked for, oldest first
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> _Proxy:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        # Closing alone would not end a blocked accept.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, client.makefile("rb", buffering=0) as reader:
            server = self.connect(client, reader)
            if server is not None:
                with server:
                    _relay(client, server)

    def connect(self, client: socket.socket, reader: BinaryIO) -> socket.socket | None:
        """Speak with the client; return the connection to the target, None if it is refused."""
        raise NotImplementedError

    def _target(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.target_port))


class SocksProxy(_Proxy):
    """SOCKS5, RFC 1928 and 1929; answers each CONNECT with `reply` (0: connected)."""

    reply = 0

    def connect(self, client: socket.socket, reader: BinaryIO) -> socket.socket | None:
        _, count = _read(reader, 2)
        method = _NO_LOGIN if self.login is None else _PASSWORD
        if method not in _read(reader, count):
            client.sendall(bytes((5, _NONE_ACCEPTED)))
            return None
        client.sendall(bytes((5, method)))
        if self.login is not None:
            _read(reader, 1)
            name, password = (_read(reader, _read(reader, 1)[0]).decode() for _ in range(2))
            is_right = (name, password) == self.login
            client.sendall(bytes((1, 0 if is_right else 1)))
            if not is_right:
                return None
        kind = _read(reader, 4)[3]
        host = _read(reader, _read(reader, 1)[0] if kind == _DOMAIN else 4)
        self.hosts.append(host.decode() if kind == _DOMAIN else socket.inet_ntoa(host))
        _read(reader, 2)
        client.sendall(bytes((5, self.reply, 0, _IPV4)) + bytes(6))
        return self._target() if self.reply == 0 else None


class HttpProxy(_Proxy):
    """HTTP: CONNECT for https, and whole URLs for http; `status` other than 200 refuses all."""

    status = 200

    def connect(self, client: socket.socket, reader: BinaryIO) -> socket.socket | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _read(reader, 1)
        method, url, _ = head.decode().split(" ", 2)
        self.hosts.append(url.partition("://")[2].partition("/")[0] or url)
        status = self.status
        if self.login is not None:
            basic = base64.b64encode(":".join(self.login).encode()).decode()
            if f"proxy-authorization: basic {basic}".lower() not in head.decode().lower():
                status = 407
        if status != 200:
            client.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status)
            return None
        server = self._target()
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(head)
        return server


class OtherServer(_Proxy):
    """No proxy: answers the first bytes with `answer` and closes."""

    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

    def connect(self, client: socket.socket, reader: BinaryIO) -> socket.socket | None:
        client.recv(4096)
        client.sendall(self.answer)
        return None


def _read(reader: BinaryIO, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = reader.read(count - len(data))
        if not piece:
            raise ConnectionResetError
        data += piece
    return data


def _relay(client: socket.socket, server: socket.socket) -> None:
    ways = {client: server, server: client}
    while True:
        for ready in select.select(list(ways), [], [])[0]:
            data = ready.recv(1 << 16)
            if not data:
                return
            ways[ready].sendall(data)
