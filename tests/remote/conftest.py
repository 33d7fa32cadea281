"""A server of the test for each test that needs one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from upstream_server import UpstreamServer, upstreams


@pytest.fixture
def server() -> Iterator[UpstreamServer]:
    """An OpenAI-compatible server that answers well until the test changes that."""
    with upstreams(1) as (one,):
        yield one
