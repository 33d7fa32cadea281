"""A stand-in for the calls of torch that the test of an accelerator makes.

The variable FAKE_TORCH says what is here and what fails: "DEVICE CALL MESSAGE", with CALL one of
`import`, `count`, `init`, `product`, `read`, and a MESSAGE that may be a special one of `_fail`.
"""

from __future__ import annotations

import os
import signal
import time
from types import SimpleNamespace
from typing import Any

_device, _call, _message = (os.environ["FAKE_TORCH"] + "  ").split(" ", 2)
_message = _message.strip()


def _fail(call: str) -> None:
    if call != _call:
        return
    if _message == "hang":
        time.sleep(3600)
    if _message == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if _message == "exit":
        os._exit(0)
    if call == "import":
        raise ImportError(_message)
    raise RuntimeError(_message)


class _Tensor:
    def __matmul__(self, other: _Tensor) -> _Tensor:
        _fail("product")
        return self

    def sum(self) -> _Tensor:
        return self

    def item(self) -> float:
        _fail("read")
        return 64**3 if _call != "wrong" else 7


def ones(shape: tuple[int, int], device: str) -> _Tensor:
    print("a line of the driver", flush=True)
    return _Tensor()


def _count() -> int:
    _fail("count")
    return 1 if _device == "cuda" else 0


def _name(device: str) -> str:
    return f"Tested {device}"


_fail("import")
version = SimpleNamespace(cuda="13.0" if _device in ("cuda", "none") else None, hip=None)
cuda: Any = SimpleNamespace(device_count=_count, init=lambda: _fail("init"), get_device_name=_name)
xpu: Any = SimpleNamespace(is_available=lambda: _device == "xpu", get_device_name=_name)
backends: Any = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: _device == "mps"))
