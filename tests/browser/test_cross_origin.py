"""Pages of other origins in a real browser: allowed ones may use the chat API, others not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page

from chat_kit import CHAT, chat_body
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from web_client import HANG_GUARD_S, served

# Status and body of a chat request, or 0 and the error's name if the browser blocked it.
ASK = """async ([url, body, key]) => {
  try {
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${key}` };
    const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    return [answer.status, await answer.json()];
  } catch (error) {
    return [0, error.name];
  }
}"""
READ = """async (url) => {
  try {
    return (await fetch(url)).status;
  } catch (error) {
    return 0;
  }
}"""


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another site</title>")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def other_site() -> Iterator[str]:
    """The origin of another site, with one blank page."""
    site = ThreadingHTTPServer(("127.0.0.1", 0), _Blank)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    yield f"http://localhost:{site.server_port}"
    site.shutdown()
    thread.join(HANG_GUARD_S)
    site.server_close()


@pytest.fixture
def page(launch: Callable[..., Browser], other_site: str) -> Iterator[Page]:
    """That site's page."""
    context = launch().new_context()
    page = context.new_page()
    page.goto(other_site)
    yield page
    context.close()


def test_allowed_origin_can_use_only_the_chat_api(
    web_worker: Worker, page: Page, other_site: str
) -> None:
    with served(web_worker, Settings(allow_origin=(other_site,))) as (port, _):
        own = f"http://127.0.0.1:{port}"
        status, answer = page.evaluate(ASK, [own + CHAT, chat_body(), "any"])
        assert status == 200
        assert answer["choices"][0]["message"]["content"]
        status, answer = page.evaluate(ASK, [own + CHAT, chat_body(temperature=3), "any"])
        assert (status, answer["error"]["param"]) == (400, "temperature")
        for path in ("/api/status", "/", "/healthz", "/metrics"):
            assert page.evaluate(READ, own + path) == 0
        assert page.evaluate(ASK, [own + "/api/captions", {}, "any"])[0] == 0


def test_other_origin_can_read_nothing(web_worker: Worker, page: Page) -> None:
    with served(web_worker, Settings(allow_origin=("https://chat.example",))) as (port, _):
        own = f"http://127.0.0.1:{port}"
        assert page.evaluate(ASK, [own + CHAT, chat_body(), "any"])[0] == 0
        assert page.evaluate(READ, own + "/v1/models") == 0
