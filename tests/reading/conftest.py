"""The reader of this process, and pictures of signs."""

from __future__ import annotations

import pytest

from vlm.reading.reader import Reader, load_reader


@pytest.fixture(scope="session")
def reader() -> Reader:
    return load_reader()
