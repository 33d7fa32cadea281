"""llama.cpp's own server as the upstream; skipped if the server or a model is missing.

The server is found on the PATH. LLAMA_SERVER_MODEL and LLAMA_SERVER_MMPROJ name the two files of a
vision model in GGUF.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_kit import FRAME, Running, caption, stream

from engine_kit import chat_request
from vlm.remote.engine import RemoteEngine
from vlm.results import TokenChunk
from vlm.settings import Settings
from vlm.types import Message, Request
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


def test_a_frame_is_captioned_chunk_by_chunk(engine: RemoteEngine) -> None:
    request = Request.about(FRAME, "Describe this image briefly.", 24)
    result = caption(engine, request)
    assert result.finish_reason in ("stop", "length")
    assert result.stats.tokens > 1
    assert result.stats.prompt_tokens > 1
    assert len(list(stream(engine, request))) > 2
    assert Path(engine.info.model).name == Path(MODEL).name


def test_logprobs_json_and_the_token_limit_work(engine: RemoteEngine) -> None:
    messages = (Message("system", ("Be brief.",)), Message("user", (FRAME, "What is this?")))
    request = chat_request(messages, 4, top_logprobs=2)
    chunks = [event for event in stream(engine, request) if isinstance(event, TokenChunk)]
    logprobs = [each for chunk in chunks for each in chunk.logprobs]
    assert logprobs
    assert all(len(each.top) == 2 for each in logprobs)
    assert caption(engine, request).stats.tokens <= 4
    as_json = caption(engine, chat_request(messages, 24, json_object=True))
    assert as_json.text.lstrip().startswith("{")


def test_closing_a_job_frees_the_server(engine: RemoteEngine) -> None:
    running = Running(engine, Request.about(FRAME, "Describe this image.", 512))
    next(running.read())
    running.close()
    wait_until(lambda: engine.upstreams()[0].outstanding == 0)
    assert caption(engine, Request.about(FRAME, "What is this?", 4)).text
    assert engine.upstreams()[0].failures == 0
