"""Two servers with several oddities at once, as somebody might write or configure them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from remote_kit import FRAME, LIMITS, caption, failure
from upstream_server import TEXT

from engine_kit import with_task
from vlm.errors import BadRequestError
from vlm.remote.engine import RemoteEngine
from vlm.settings import Settings
from vlm.types import Request, Sampling

QUESTION = with_task(
    Request.about(FRAME, "What is this?", 16, camera="door"), sampling=Sampling(0.5, seed=3)
)


class HandWritten(BaseHTTPRequestHandler):
    """Speaks HTTP/1.0, lists no models, writes no empty lines, and refuses within its stream."""

    protocol_version = "HTTP/1.0"
    bodies: list[dict[str, Any]]

    def do_GET(self) -> None:
        self.send_error(501)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body)
        self.send_response(200)
        self.end_headers()
        for name in ("stream_options", "seed", "max_tokens", "max_completion_tokens"):
            if name in body:
                words = json.dumps({"detail": f"unexpected keyword argument '{name}'"})
                self.write({"error": words})
                return
        for text in ("<thi", "nk>Hm", ".</think", ">", " A red", " circle", ".<|eot", "_id|>"):
            self.write({"choices": [{"delta": {"text": text}}]})
        self.write({"choices": [{"delta": {}, "finish_reason": "Stop"}]})
        self.wfile.write(b"data: [done]")

    def write(self, data: object) -> None:
        self.wfile.write(f"data: {json.dumps(data)}\n".encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Gateway(HandWritten):
    """Lists models of all kinds, wraps refusals in text, and answers in nested parts at once."""

    def do_GET(self) -> None:
        embeds = {"id": "acme/embed", "task": "embedding"}
        talks = {"id": "acme/talk", "modalities": {"input": ["text"], "output": ["text"]}}
        sees = {"id": "acme/see", "modalities": {"input": ["text", "image"], "output": ["text"]}}
        self.respond(200, {"data": [embeds, talks, sees]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.bodies.append(body)
        parts = [part for each in body["messages"] for part in each["content"]]
        if any("detail" in part.get("image_url", {}) for part in parts):
            path = ["body", "messages", 0, "user", "content", 0, "image_url", "detail"]
            inner = {"detail": [{"type": "extra_forbidden", "loc": path, "input": body}]}
            words = f"upstream 422: {json.dumps(inner)}"
            self.respond(400, {"error": {"message": words, "param": "", "code": None}})
        elif "user" in body or "topP" in body:
            words = "Invalid request: parameter user is not supported by this model's user group"
            self.respond(400, {"message": words})
        elif body["model"] != "acme/see":
            self.respond(400, {"error": "this model sees no pictures"})
        else:
            text = [{"type": "output_text", "text": {"value": TEXT, "annotations": []}}]
            message = {"role": "assistant", "content": [{"type": "reasoning"}, *text]}
            self.respond(200, {"choices": [{"message": message, "finish_reason": "END_TURN"}]})

    def respond(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())


@contextmanager
def engine_over(handler: type[HandWritten], **settings: Any) -> Iterator[RemoteEngine]:
    handler.bodies = []
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        engine = RemoteEngine(Settings(engine="openai", base_url=(url,), **settings), LIMITS)
        try:
            engine.open(lambda _: None)
            yield engine
        finally:
            engine.close()
            server.shutdown()
            thread.join()


def test_a_hand_written_server_captions() -> None:
    with engine_over(HandWritten, remote_model="mine") as engine:
        for _ in range(2):
            result = caption(engine, QUESTION)
            assert (result.text, result.finish_reason) == (TEXT, "stop")
        assert engine.upstreams()[0].failures == 0
    assert {each["model"] for each in HandWritten.bodies} == {"mine"}
    assert HandWritten.bodies[-1]["temperature"] == 0.5


def test_a_gateway_captions() -> None:
    with engine_over(Gateway) as engine:
        assert engine.info.model == "acme/see"
        for _ in range(2):
            result = caption(engine, QUESTION)
            assert (result.text, result.finish_reason) == (TEXT, "stop")
    assert len(Gateway.bodies) == 4
    sent = Gateway.bodies[-1]
    assert (sent["seed"], sent["temperature"], sent["max_tokens"]) == (3, 0.5, 16)
    assert "user" not in sent


def test_a_gateways_own_words_reach_the_person() -> None:
    with engine_over(Gateway, remote_model="acme/talk") as engine:
        error = failure(engine, QUESTION)
    assert isinstance(error, BadRequestError)
    assert "this model sees no pictures" in str(error)
