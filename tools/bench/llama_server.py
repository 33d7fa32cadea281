"""llama.cpp's server as a reference, over HTTP as its documentation uses it.

The program `llama-server` is found on the PATH; LLAMA_SERVER_MODEL and LLAMA_SERVER_MMPROJ name the
two GGUF files of the same model. docs/remote.md says how a checkpoint is converted.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx2
from PIL import Image

from tools.bench.frames import to_jpeg
from tools.bench.machine import physical_cores
from tools.bench.references import ReferenceTiming
from vlm.errors import SightlineError

_START_S: Final = 120.0
_CAPTION_S: Final = 300.0
_POLL_S: Final = 0.1


class LlamaServerError(SightlineError):
    """llama.cpp's server is missing or failed; the message is one line."""

    code = "llama_server"


class LlamaServer:
    """A running server. It keeps nothing of one caption for the next, and ignores end tokens."""

    def __init__(self, log_file: Path) -> None:
        """Start it; its output goes to `log_file`. Raise LlamaServerError if it does not start."""
        program = shutil.which("llama-server")
        files = [os.environ.get(f"LLAMA_SERVER_{name}", "") for name in ("MODEL", "MMPROJ")]
        if program is None or not all(map(os.path.isfile, files)):
            raise LlamaServerError(
                "--against llama.cpp needs llama-server on the PATH, and the files that "
                "LLAMA_SERVER_MODEL and LLAMA_SERVER_MMPROJ name."
            )
        self.dtype = Path(files[0]).stem
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        flags = ["-m", files[0], "--mmproj", files[1], "--host", "127.0.0.1", "--port", port]
        flags += ["--threads", str(physical_cores()), "--parallel", "1", "--ignore-eos"]
        flags += ["--no-cache-prompt", "--cache-ram", "0", "--no-webui"]
        self._client = httpx2.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=_CAPTION_S, trust_env=False
        )
        with log_file.open("wb") as log:
            self._process = subprocess.Popen([program, *flags], stdout=log, stderr=log)
        self._wait(log_file)

    def __enter__(self) -> LlamaServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()

    def caption(self, way: str, image: Image.Image, prompt: str, tokens: int) -> ReferenceTiming:
        """Time a greedy caption of exactly `tokens` tokens. Raise LlamaServerError."""
        started = time.perf_counter()
        url = f"data:image/jpeg;base64,{base64.b64encode(to_jpeg(image)).decode()}"
        picture = {"type": "image_url", "image_url": {"url": url}}
        body = {
            "messages": [
                {"role": "user", "content": [picture, {"type": "text", "text": prompt}]},
            ],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        first_s = 0.0
        usage: dict[str, Any] = {}
        try:
            with self._client.stream("POST", "/v1/chat/completions", json=body) as answer:
                answer.raise_for_status()
                for line in answer.iter_lines():
                    if line.startswith("data: {"):
                        event = json.loads(line.removeprefix("data: "))
                        usage = event.get("usage") or usage
                        if not first_s and _has_text(event):
                            first_s = time.perf_counter() - started
        except httpx2.HTTPError as error:
            raise LlamaServerError(f"llama-server failed: {type(error).__name__}.") from error
        if not first_s or usage.get("completion_tokens") != tokens:
            raise LlamaServerError(
                f"llama-server gave {usage.get('completion_tokens')} of {tokens} tokens."
            )
        return ReferenceTiming(
            ttft_s=first_s,
            caption_s=time.perf_counter() - started,
            prompt_tokens=usage["prompt_tokens"],
            tokens=tokens,
        )

    def _wait(self, log_file: Path) -> None:
        """Wait until the model is loaded; raise LlamaServerError if the server ends before."""
        deadline = time.monotonic() + _START_S
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                if self._client.get("/health").status_code == httpx2.codes.OK:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(_POLL_S)
        self.__exit__(None, None, None)
        lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines() or ["no output"]
        raise LlamaServerError(f"llama-server did not start: {lines[-1]}")


def _has_text(event: dict[str, Any]) -> bool:
    return any(choice.get("delta", {}).get("content") for choice in event.get("choices", ()))
