"""A model hub on loopback with the protocol of huggingface_hub and faults on demand.

    with HubServer({"HuggingFaceTB/SmolVLM-256M-Instruct": folder}) as hub:
        hub.bytes_per_s = 500_000                              # None: no limit
        subprocess.Popen([...], env=os.environ | hub.env(home))  # an empty HF_HOME, this endpoint
        hub.faults.append(Fault(cut_after_bytes=1_000_000, times=1))
        hub.faults.clear()                                     # no more faults, at run time
        hub.requests_for("model.safetensors")                  # with their ranges and bytes served

A repository has the files of its folder and subfolders; its commit is a hash of their content.
As on the real hub, a large file is behind a redirect to another origin.
"""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

_LARGE = (".safetensors", ".bin", ".onnx", ".pt")
_PIECE_BYTES = 1 << 16


@dataclass
class Fault:
    """A failure of the requests whose path contains `path`."""

    path: str = ".safetensors"
    status: int | None = None  # answered in place of the content, with `headers` and `body`
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": "on demand"}'
    cut_after_bytes: int | None = None  # then the connection is closed
    stall_after_bytes: int | None = None  # then nothing is sent any more
    truncate_to_bytes: int | None = None  # size of the file that is served
    wrong_content: bool = False  # the last byte is changed
    times: int | None = None  # None: always
    spared: int = 0  # requests before the first fault

    def is_due(self, path: str) -> bool:
        if self.path not in path or self.times == 0:
            return False
        self.spared -= 1
        return self.spared < 0

    def use(self) -> None:
        if self.times is not None:
            self.times -= 1


@dataclass
class Request:
    """One received request."""

    at_s: float
    method: str
    path: str
    first_byte: int  # of the requested range
    headers: Mapping[str, str]
    status: int = 0
    served_bytes: int = 0


@dataclass(frozen=True)
class _File:
    path: Path
    size: int
    sha256: str
    git_sha1: str

    @property
    def is_large(self) -> bool:
        return self.path.suffix in _LARGE

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_large else self.git_sha1

    def as_sibling(self, name: str) -> dict[str, object]:
        told: dict[str, object] = {"rfilename": name, "size": self.size, "blobId": self.git_sha1}
        if self.is_large:
            told["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": 135}
        return told

    def as_tree_entry(self, name: str) -> dict[str, object]:
        told: dict[str, object] = {"type": "file", "path": name, "size": self.size}
        if self.is_large:
            told["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 135}
        return told | {"oid": self.git_sha1}


@cache
def _hashed(path: Path, size: int, _: int) -> _File:
    sha256, git_sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size)
    with path.open("rb") as opened:
        while piece := opened.read(1 << 20):
            sha256.update(piece)
            git_sha1.update(piece)
    return _File(path, size, sha256.hexdigest(), git_sha1.hexdigest())


class HubServer:
    """Serves `repositories`, a folder for each hub id; attributes may change at any time."""

    def __init__(self, repositories: Mapping[str, Path], tls: ssl.SSLContext | None = None) -> None:
        """With `tls` it speaks https; the weights lie at the origin `other_origin`."""
        self.repositories = dict(repositories)
        self.faults: list[Fault] = []
        self.bytes_per_s: float | None = None  # of each response; None: no limit
        self.ignores_ranges = False
        self.about: dict[str, object] = {}  # more of what it tells about each model
        self.accepted_token: str | None = None  # any other is answered with 401; None: all are well
        self.requests: list[Request] = []  # oldest first
        self.closing = threading.Event()
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        if tls is not None:
            # The handshake is made by the thread of the request.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.other_origin = f"{scheme}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> HubServer:
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def env(self, home: Path) -> dict[str, str]:
        """Return the environment of a process that uses this hub, with `home` as its HF_HOME."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": "",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def requests_for(self, part: str, method: str = "GET") -> list[Request]:
        """Return the requests whose path contains `part`, without those answered by a redirect."""
        return [
            each
            for each in self.requests
            if part in each.path and each.method == method and each.status != 302
        ]

    def files(self, hub_id: str) -> dict[str, _File]:
        folder = self.repositories[hub_id]
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                about = path.stat()
                name = path.relative_to(folder).as_posix()
                found[name] = _hashed(path, about.st_size, about.st_mtime_ns)
        return found

    def commit(self, hub_id: str) -> str:
        told = "".join(f"{name} {file.sha256}\n" for name, file in self.files(hub_id).items())
        return hashlib.sha1(told.encode()).hexdigest()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    hub: HubServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore it: clients close connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else each small file waits 40 ms for an acknowledgement between its headers and its body.
    disable_nagle_algorithm = True
    server: _Listener

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: `HubServer.requests` has it."""

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        self._request = Request(time.monotonic(), self.command, path, int(asked), headers)
        hub.requests.append(self._request)
        for fault in [each for each in hub.faults if each.status and each.is_due(path)]:
            fault.use()
            return self._answer(fault.status or 500, fault.body, fault.headers)
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if token and hub.accepted_token not in (None, token):
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        if path.startswith("/api/models/"):
            return self._model_info(*self._repository(path.removeprefix("/api/models/")))
        hub_id, rest = self._repository(path.removeprefix("/cdn/").removeprefix("/"))
        if not hub_id:
            return self._refuse(401, "RepoNotFound", "Invalid username or password.")
        revision, _, name = rest.removeprefix("resolve/").partition("/")
        file = hub.files(hub_id).get(name)
        if revision not in ("main", hub.commit(hub_id)):
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        if file is None:
            return self._refuse(404, "EntryNotFound", "Entry not found")
        about = {"X-Repo-Commit": hub.commit(hub_id), "Accept-Ranges": "bytes"}
        if file.is_large and not path.startswith("/cdn/"):
            about |= {"X-Linked-Etag": f'"{file.etag}"', "X-Linked-Size": str(file.size)}
            about["Location"] = f"{hub.other_origin}/cdn{path}"
            return self._answer(302, b"", about)
        return self._content(path, file, about | {"ETag": f'"{file.etag}"'})

    def _repository(self, path: str) -> tuple[str, str]:
        """Split `path` into the hub id at its start ("" if none) and the rest."""
        for hub_id in self.server.hub.repositories:
            if path == hub_id or path.startswith(hub_id + "/"):
                return hub_id, path[len(hub_id) + 1 :]
        return "", path

    def _model_info(self, hub_id: str, rest: str) -> None:
        hub = self.server.hub
        if not hub_id:
            return self._refuse(401, "RepoNotFound", "Invalid username or password.")
        commit = hub.commit(hub_id)
        what, _, revision = rest.partition("/")
        if revision not in ("", "main", commit):
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        files = hub.files(hub_id).items()
        siblings = [file.as_sibling(name) for name, file in files]
        stalled = [each for each in hub.faults if each.is_due("/api/models/") and not each.status]
        if stalled:
            return self._stall()
        told: dict[str, object] | list[object] = {
            "id": hub_id,
            "modelId": hub_id,
            "sha": commit,
            "siblings": siblings,
        }
        told |= hub.about
        if what == "tree":
            told = [file.as_tree_entry(name) for name, file in files]
        return self._answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self._head(status, len(body), headers)
        if self.command == "GET":
            self.wfile.write(body)
            self._request.served_bytes = len(body)

    def _head(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self._request.status = status
        self.send_response(status)
        for name, value in ({"Content-Length": str(length)} | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()

    def _content(self, path: str, file: _File, headers: dict[str, str]) -> None:
        hub = self.server.hub
        first = 0 if hub.ignores_ranges else self._request.first_byte
        fault = next((each for each in hub.faults if each.is_due(path)), Fault(times=0))
        end = file.size if fault.truncate_to_bytes is None else fault.truncate_to_bytes
        if first and first >= end:
            return self._answer(416, b"", {"Content-Range": f"bytes */{end}"})
        if first:
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{end}"
        self._head(206 if first else 200, end - first, headers)
        if self.command == "HEAD":
            return None
        fault.use()
        with suppress(OSError):
            self._send(file, first, end, fault)
        return None

    def _send(self, file: _File, first: int, end: int, fault: Fault) -> None:
        hub, stop = self.server.hub, end
        for after in (fault.cut_after_bytes, fault.stall_after_bytes):
            stop = stop if after is None else min(stop, first + after)
        with file.path.open("rb") as opened:
            opened.seek(first)
            at = first
            while at < stop and not hub.closing.is_set():
                rate = hub.bytes_per_s
                piece = opened.read(min(_PIECE_BYTES, stop - at, int((rate or 1e9) / 20) + 1))
                if fault.wrong_content and at + len(piece) == end:
                    piece = piece[:-1] + bytes([piece[-1] ^ 1])
                self.wfile.write(piece)
                at += len(piece)
                self._request.served_bytes += len(piece)
                if rate:
                    time.sleep(len(piece) / rate)
        if fault.stall_after_bytes is not None:
            self._stall()
        if stop < end:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _stall(self) -> None:
        """Send nothing until the client or the server closes."""
        self.connection.settimeout(0.05)
        while not self.server.hub.closing.is_set():
            try:
                if not self.connection.recv(1):
                    return
            except TimeoutError:
                continue
