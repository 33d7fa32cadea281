#!/usr/bin/env bash
# httpx2 2.16.2 with socksio 1.0.0: not every error of a SOCKS proxy is one of httpx2's errors.
#
# Documented: HTTPError is the base class for RequestError and HTTPStatusError, "useful for try...except
# blocks when issuing a request", and ProxyError is for an error while establishing a proxy connection.
# Guess before the run: whatever a proxy of the scheme socks5 answers is a ProxyError, and the connection
# to it is closed.
#
# Seen: a server that answers something other than SOCKS5 raises socksio's ProtocolError, which is no
# httpx2.HTTPError; and after a proxy that refuses, the socket is left to the garbage collector
# (ResourceWarning: unclosed). Consequence: an HTTP proxy that is named as a SOCKS one gives a traceback.
#
# Output seen with the versions pinned below:
#   refused: httpx2.ProxyError, other: socksio.exceptions.ProtocolError, unclosed sockets: 2
#
# Installs in a temporary folder; exits with 1 if the behaviour differs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'httpx2==2.16.2' 'socksio==1.0.0' 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import gc
import socket
import sys
import threading
import warnings

import httpx2


def error_of(answer: bytes) -> type[Exception]:
    """Return the class of the error of a request through a proxy that begins with `answer`."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(100)
            client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with httpx2.Client(proxy=f"socks5://127.0.0.1:{listener.getsockname()[1]}") as http:
            http.get("http://example.invalid/")
    except Exception as error:
        return type(error)
    finally:
        thread.join()
        listener.close()
    sys.exit("no error")


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ResourceWarning)
    refused = error_of(b"\x05\xff")
    other = error_of(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    gc.collect()
unclosed = sum("unclosed" in str(each.message) for each in caught)
print(
    f"refused: httpx2.{refused.__name__}, other: {other.__module__}.{other.__name__}, "
    f"unclosed sockets: {unclosed}"
)
as_seen = issubclass(refused, httpx2.ProxyError) and not issubclass(other, httpx2.HTTPError)
sys.exit(0 if as_seen and unclosed else 1)
PYTHON
