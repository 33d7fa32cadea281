"""What torch raises where a device is full, as the MemoryError that `Runtime` promises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

_OUT_OF_MEMORY_WORDS: Final = ("out of memory", "allocate memory", "not enough memory")


@contextmanager
def memory_errors() -> Iterator[None]:
    """Each device's own out-of-memory error as a MemoryError; what is unused goes back first."""
    try:
        yield
    except RuntimeError as error:
        out_of_memory = isinstance(error, torch.OutOfMemoryError) or any(
            words in str(error).lower() for words in _OUT_OF_MEMORY_WORDS
        )
        if not out_of_memory:
            raise
        # Without "from": the traceback would keep the tensors that filled the device.
        message = str(error).splitlines()[0]
    else:
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    raise MemoryError(message)
