"""llama.cpp's own server as the server of a remote engine, where both it and a model are here.

It is found on the PATH; LLAMA_SERVER_MODEL and LLAMA_SERVER_MMPROJ name the files of a model with
vision in GGUF.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_kit import FRAME, caption

from vlm.remote.engine import RemoteEngine
from vlm.settings import Settings
from vlm.types import Message, Request, TokenChunk
from worker_kit import wait_until

MODEL, MMPROJ = (os.environ.get(f"LLAMA_SERVER_{name}", "") for name in ("MODEL", "MMPROJ"))
PROGRAM = shutil.which("llama-server") or ""

pytestmark = pytest.mark.skipif(
    not (PROGRAM and MODEL and MMPROJ),
    reason="needs llama-server on the PATH, LLAMA_SERVER_MODEL and LLAMA_SERVER_MMPROJ",
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteEngine]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    args = ["-m", MODEL, "--mmproj", MMPROJ, "--port", port, "--parallel", "2", "--no-webui"]
    log = tmp_path_factory.mktemp("llama") / "log"
    with log.open("w") as out, subprocess.Popen([PROGRAM, *args], stdout=out, stderr=out) as server:
        engine = RemoteEngine(Settings(engine="openai", base_url=(f"http://127.0.0.1:{port}",)))
        try:
            # It answers 503 until the model is loaded.
            engine.open(lambda _: engine.stop_waiting() if server.poll() is not None else None)
            yield engine
        finally:
            engine.close()
            server.kill()


def test_it_captions_a_frame_piece_by_piece(engine: RemoteEngine) -> None:
    texts, done = caption(engine, Request.about(FRAME, "Describe this image briefly.", 24))
    assert done.finish_reason in ("stop", "length")
    assert len(texts) > 1
    assert done.stats.tokens > 1
    assert done.stats.prompt_tokens > 1


def test_it_knows_the_model_by_the_name_that_it_lists(engine: RemoteEngine) -> None:
    assert Path(engine.info.model).name == Path(MODEL).name


def test_it_tells_logprobs_and_keeps_to_json_and_limits(engine: RemoteEngine) -> None:
    messages = (Message("system", ("Be brief.",)), Message("user", (FRAME, "What is this?")))
    request = Request(messages, 4, top_logprobs=2)
    chunks = [item for item in engine.stream(request) if isinstance(item, TokenChunk)]
    logprobs = [each for chunk in chunks for each in chunk.logprobs]
    assert logprobs
    assert all(len(each.top) == 2 for each in logprobs)
    assert caption(engine, request)[1].stats.tokens <= 4
    as_json = caption(engine, Request(messages, 24, json_object=True))[1]
    assert as_json.text.lstrip().startswith("{")


def test_a_stream_that_nobody_reads_on_leaves_it_free(engine: RemoteEngine) -> None:
    items = engine.stream(Request.about(FRAME, "Describe this image.", 512))
    next(items)
    items.close()
    wait_until(lambda: engine.upstreams()[0].outstanding == 0)
    assert caption(engine, Request.about(FRAME, "What is this?", 4))[1].text
    assert engine.upstreams()[0].failures == 0
