"""Helpers for tests of remote engines: one over servers of the test, and its streams read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from PIL import Image
from upstream_server import UpstreamServer

from vlm.errors import SightlineError
from vlm.remote.engine import RemoteEngine
from vlm.remote.limits import Limits
from vlm.settings import Settings
from vlm.types import Request, Result, TokenChunk

# Quick to ask again, and patient with a machine that has much to do.
LIMITS = Limits(
    connect_s=60.0,
    first_text_s=60.0,
    silence_s=60.0,
    answer_s=60.0,
    wait_s=60.0,
    check_every_s=0.02,
    check_s=60.0,
    pause_s=0.01,
    longest_pause_s=0.02,
)
FRAME = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
QUESTION = Request.about(FRAME, "What is this?", 16)


@contextmanager
def engine_over(
    *servers: UpstreamServer, settings: Settings | None = None, **limits: Any
) -> Iterator[RemoteEngine]:
    """An open engine over `servers`; `limits` are those that differ from LIMITS."""
    asked = replace(
        settings or Settings(), engine="openai", base_url=tuple(each.base_url for each in servers)
    )
    engine = RemoteEngine(asked, replace(LIMITS, **limits), random.Random(0))
    try:
        engine.open()
        yield engine
    finally:
        engine.close()


def caption(engine: RemoteEngine, request: Request = QUESTION) -> tuple[list[str], Result]:
    """The pieces of one caption, and its end; raises what ended it instead."""
    *chunks, done = engine.stream(request)
    assert isinstance(done, Result)
    texts = [chunk.text for chunk in chunks if isinstance(chunk, TokenChunk)]
    assert len(texts) == len(chunks)
    assert "".join(texts) == done.text
    return texts, done


def broken_off(engine: RemoteEngine, request: Request = QUESTION) -> SightlineError:
    """The error that ended one caption; whatever was shown of it was never called whole."""
    items = engine.stream(request)
    try:
        for item in items:
            assert isinstance(item, TokenChunk), "a part of a caption was shown as whole"
    except SightlineError as error:
        return error
    raise AssertionError("it ended without an end")
