"""The finder with its real small models, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vlm.finder.finder import Finder
from vlm.settings import Settings


@pytest.fixture(scope="session")
def finder() -> Iterator[Finder]:
    finder = Finder(Settings())
    yield finder
    finder.close()
