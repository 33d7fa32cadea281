"""Requests to the hub through huggingface_hub's own session, which can be given up at any moment.

huggingface_hub 2.4 by itself begins a broken download anew, checks sizes alone, waits for as long
as a hub asks, and hands out 10 MB at a time. So the bytes are received here; its session, token,
proxies, offline mode and errors are what they are received with.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from vlm.errors import FetchCancelledError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

TICK_S: Final = 0.2
# Read ahead of the disk by no more than this: received pieces are of some 64 KB each.
_PIECES_AHEAD: Final = 32

_T = TypeVar("_T")


@dataclass(frozen=True)
class Opened:
    """A response has begun, with the file's byte `first_byte`."""

    first_byte: int


def check_cancelled(is_cancelled: Callable[[], bool]) -> None:
    """Raises FetchCancelledError where `is_cancelled` has turned true."""
    if is_cancelled():
        raise FetchCancelledError(
            "The download was cancelled. What has been received is kept for the next one."
        )


class Hub:
    """One hub: its address, and who asks it."""

    def __init__(self, endpoint: str | None, is_cancelled: Callable[[], bool]) -> None:
        """`endpoint` is $HF_ENDPOINT or the public one by default."""
        from huggingface_hub import constants

        # Else the user agent tells what is installed and in what the process runs, for which a list
        # of programs is fetched first. Nothing of that is needed for a model.
        constants.HF_HUB_DISABLE_TELEMETRY = True
        self._endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
        self._is_cancelled = is_cancelled

    def model_info(self, hub_id: str, revision: str) -> Iterator[ModelInfo | None]:
        """What the hub tells of `revision`: its commit, its files, their sizes and hashes.

        Gives None a few times a second while nothing has come. Raises huggingface_hub's errors,
        httpx2's, and FetchCancelledError.
        """
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._endpoint)

        def produce(put: Callable[[ModelInfo], None]) -> None:
            put(
                api.model_info(
                    hub_id, revision=revision, files_metadata=True, timeout=self._timeout_s
                )
            )

        return _read_beside(produce, self._is_cancelled)

    def content(
        self, hub_id: str, commit: str, file_name: str, first_byte: int
    ) -> Iterator[Opened | bytes | None]:
        """A file from `first_byte` on, where the hub goes on there: one Opened, then its bytes.

        For None and for what it raises see `model_info`.
        """
        from huggingface_hub import get_session
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            hf_raise_for_status,
        )

        url = f"{self._endpoint}/{hub_id}/resolve/{commit}/{file_name}"
        headers = build_hf_headers()
        # Compressed, neither sizes nor ranges would be those of the file.
        headers["Accept-Encoding"] = "identity"
        if first_byte:
            headers["Range"] = f"bytes={first_byte}-"

        def produce(put: Callable[[Opened | bytes], None]) -> None:
            with get_session().stream(
                "GET", url, headers=headers, timeout=self._timeout_s
            ) as response:
                hf_raise_for_status(response)
                put(Opened(_first_byte(response)))
                for piece in response.iter_bytes():
                    put(piece)

        return _read_beside(produce, self._is_cancelled)


def _first_byte(response: Any) -> int:
    if response.status_code != 206:
        return 0
    told: str = response.headers.get("Content-Range", "")
    first = told.removeprefix("bytes").strip().partition("-")[0]
    return int(first) if first.isdigit() else 0


class _GivenUpError(Exception):
    """Nobody reads what a thread has received."""


@dataclass(frozen=True)
class _End(Generic[_T]):
    error: BaseException | None


def _read_beside(
    produce: Callable[[Callable[[_T], None]], None], is_cancelled: Callable[[], bool]
) -> Iterator[_T | None]:
    """What `produce` puts, from a thread beside, and None a few times a second while it does not.

    A name that does not resolve, a connection that stalls: the thread may hang there for as long as
    it takes. It holds no file, and what it still receives after it was given up goes nowhere.
    """
    items: queue.Queue[_T | _End[_T]] = queue.Queue(_PIECES_AHEAD)
    given_up = threading.Event()

    def put(item: _T | _End[_T]) -> None:
        while not given_up.is_set():
            with suppress(queue.Full):
                return items.put(item, timeout=TICK_S)
        raise _GivenUpError

    def work() -> None:
        error: BaseException | None = None
        try:
            produce(put)
        except BaseException as raised:
            error = raised
        with suppress(_GivenUpError):
            put(_End(error))

    threading.Thread(target=work, name="hub-request", daemon=True).start()
    try:
        while True:
            check_cancelled(is_cancelled)
            try:
                item = items.get(timeout=TICK_S)
            except queue.Empty:
                yield None
                continue
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
    finally:
        given_up.set()
