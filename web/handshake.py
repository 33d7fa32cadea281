"""TLS of a connection, which is counted and bounded from its first byte."""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import Any, cast

# From the opening of a connection to the end of its handshake.
HANDSHAKE_DEADLINE_S = 10


class Handshake(SSLProtocol):
    """TLS around another protocol, which gets the connection when the handshake is complete.

    asyncio's servers report a connection only then, so connections whose handshakes stall would
    hold open files without being counted.
    """

    is_busy = False
    unfinished_bytes = 0

    def __init__(
        self,
        inner: asyncio.Protocol,
        tls: ssl.SSLContext,
        on_open: Callable[[Handshake], None],
        on_lost: Callable[[Handshake], None],
    ) -> None:
        """Call `on_open` with this object when the connection opens, `on_lost` when it is lost."""
        loop = asyncio.get_running_loop()
        # A future for clients that wait for their connection; a server has none.
        waiter = cast(Any, None)
        super().__init__(
            loop,
            inner,
            tls,
            waiter,
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_DEADLINE_S,
        )
        self.since_s = loop.time()
        self._on_open, self._on_lost = on_open, on_lost
        self._wire: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        self._on_open(self)
        super().connection_made(transport)

    def connection_lost(self, error: BaseException | None) -> None:
        self._on_lost(self)
        super().connection_lost(error)

    def drop(self) -> None:
        """Close the connection at once."""
        self._on_lost(self)
        self._wire.abort()
