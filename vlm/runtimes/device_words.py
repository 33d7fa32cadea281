"""The messages of accelerators and their drivers, in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vlm.errors import first_line

_MAX_NAME_CHARS: Final = 60

_OLD_DRIVER: Final = "The driver of {card} is too old for this PyTorch; update it"
_SILENT: Final = "The driver of {card} does not answer; a restart of this machine helps"
# Parts of the messages of drivers and of torch, in lower case, and what they mean; the first that
# matches counts.
_MEANINGS: Final[Sequence[tuple[tuple[str, ...], str]]] = (
    (("driver on your system is too old", "driver version is insufficient"), _OLD_DRIVER),
    (
        (
            "no kernel image",
            "not compatible with the current pytorch",
            "too old",
            "unsupported gpu",
        ),
        "{card} is too old for this PyTorch",
    ),
    (
        (
            "out of memory",
            "alloc_failed",
            "allocate memory",
            "not enough memory",
            "out_of_resources",
        ),
        "Other programs have taken the memory of {card}; close them and try again",
    ),
    (
        ("busy or unavailable", "exclusive"),
        "Another program uses {card} alone; end it and try again",
    ),
    (
        (
            "driver",
            "initialization error",
            "not yet initialized",
            "unknown error",
            "no cuda-capable device",
            "device lost",
            "device_lost",
            "unspecified launch failure",
            "illegal memory access",
            "illegal instruction",
            "launch timed out",
            "ecc error",
            "hardware",
            "fallen off the bus",
            "internal error",
        ),
        _SILENT,
    ),
    (("cannot open shared object", "dll load failed", "error loading"), "PyTorch cannot be loaded"),
)
# Of these messages it is certain that the device is the cause, whatever a pass was doing.
_DEVICE_WORDS: Final = (
    "cuda error",
    "cuda driver error",
    "hip error",
    "cublas_status",
    "cudnn_status",
    "cusolver_status",
    "cudnn error",
    "hipblas_status",
    "miopen",
    "device-side assert",
    "ur_result_error",
    "ur error",
    "level-zero",
    "level zero",
    "sycl",
    "device lost",
    "mps backend",
    "command buffer",
)


def reason(message: str, name: str | None = None, is_named: bool = False) -> str:
    """Return why the device `name` is not used, for an error's `message`, in one sentence.

    If the user has named the device (`is_named`), a second one says how the CPU takes its place.
    """
    lower = message.lower()
    meanings = (meaning for words, meaning in _MEANINGS if any(each in lower for each in words))
    known = next(meanings, None)
    card = f"the graphics card ({name[:_MAX_NAME_CHARS]})" if name else "the graphics card"
    if known is None:
        # Some messages go on with advice for programmers, and with addresses.
        line = first_line(RuntimeError(message)).split(". ")[0]
        known = "{card} failed" + ("" if "/" in line or "\\" in line else f" ({line})")
    what, _, advice = known.partition("; ")
    what = what.replace("{card}", card)
    so = "captions fail" if is_named else "the CPU captions"
    instead = " Without --device, the CPU captions." if is_named else ""
    return f"{what[0].upper()}{what[1:]}, so {so}{'; ' + advice if advice else ''}.{instead}"


def is_device_failure(message: str) -> bool:
    """Return whether an exception's `message` is of a device or driver that failed."""
    lower = message.lower()
    return any(words in lower for words in _DEVICE_WORDS)


def memory_taken(name: str) -> str:
    """Return the reason why a model that would fit an empty card is not loaded on it."""
    return reason("out of memory", name)
