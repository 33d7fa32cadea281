#!/usr/bin/env bash
# asyncio does not set TCP_NODELAY on connections of a listener that was made by `socket.create_server`, nor under uvicorn 0.54.0's own one.
#
# Documented: "The socket option TCP_NODELAY is set by default" (asyncio's event loop, since Python 3.6). Guess before the run: that holds for any
# TCP connection, so `uvicorn.Server.serve(sockets=[listener])` sends small pieces at once.
#
# Seen: asyncio sets it only if the socket's protocol number is IPPROTO_TCP. `socket.create_server` makes sockets of number 0, which accepted
# sockets inherit. So does `uvicorn.Config.bind_socket`, which uvicorn uses for several workers and for reloading.
# Consequence: an answer of two pieces (head and body) on a connection that is kept open waits 40 ms on Linux, since the client delays its
# acknowledgement of the first piece and Nagle's algorithm holds the second. Each event of a stream is held in the same way.
#
# Output seen with Python 3.11.7 and the versions pinned below:
#   listener by asyncio: nodelay True
#   listener by socket.create_server: nodelay False
#   listener by uvicorn.Config.bind_socket: nodelay False
#
# Installs in a temporary folder; exits with 1 if the behaviour differs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'uvicorn==0.54.0' 2>/dev/null
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import socket
import sys

import uvicorn


class Noting(asyncio.Protocol):
    def __init__(self, found: asyncio.Future) -> None:
        self.found = found

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        opened = transport.get_extra_info("socket")
        self.found.set_result(bool(opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
        transport.close()


async def is_set(**listener) -> bool:
    loop = asyncio.get_running_loop()
    found = loop.create_future()
    server = await loop.create_server(lambda: Noting(found), **listener)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    try:
        return await asyncio.wait_for(found, 10)
    finally:
        server.close()


async def main() -> int:
    by_uvicorn = uvicorn.Config("none:none", host="127.0.0.1", port=0, log_config=None).bind_socket()
    found = [
        await is_set(host="127.0.0.1", port=0),
        await is_set(sock=socket.create_server(("127.0.0.1", 0))),
        await is_set(sock=by_uvicorn),
    ]
    for name, value in zip(("asyncio", "socket.create_server", "uvicorn.Config.bind_socket"), found):
        print(f"listener by {name}: nodelay {value}")
    return 0 if found == [True, False, False] else 1


sys.exit(asyncio.run(main()))
PYTHON
