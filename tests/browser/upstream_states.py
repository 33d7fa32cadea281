"""States of upstream servers in `/api/status`, and a page whose server reports them."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, Route

from model_states import models

NEAR = "http://127.0.0.1:8001"
FAR = "http://10.0.0.5:8000"
OTHER = "http://10.0.0.6:8000"
ENCRYPTED = "https://gpu.example.org"
MODEL = "HuggingFaceTB/SmolVLM-256M-Instruct"
TITLE = "SmolVLM-256M-Instruct"
UNREACHABLE = "cannot be reached: nothing listens there."


def upstream(origin: str, problem: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return one of the `upstreams` of `/api/status`, healthy unless it has a problem."""
    return {
        "origin": origin,
        "healthy": problem is None,
        "outstanding": 0,
        "requests": 12,
        "failures": 0,
        "retries": 0,
        "model": MODEL,
        "problem": problem,
    } | fields


def remote(*upstreams: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `/api/status` that differ if other servers run the model."""
    origins = list(dict.fromkeys(each["origin"] for each in upstreams))
    return {
        "model": MODEL,
        "runtime": "openai",
        "device": "remote",
        "dtype": "",
        "models": models(None, choices=[]),
        "remote": {"origins": origins, "upstreams": list(upstreams)},
    }


class FakeUpstreams:
    """Answers the status polls of `page` as a server that forwards frames."""

    def __init__(self, page: Page, *upstreams: dict[str, Any]) -> None:
        self._page = page
        self._rest: dict[str, Any] = {}
        self._fields = remote(*upstreams)
        page.route("**/api/status", self._answer_poll)

    def set(self, *upstreams: dict[str, Any], **fields: Any) -> None:
        """Set the upstreams for all later polls."""
        self._fields = remote(*upstreams) | fields
        # This makes the page poll at once.
        self._page.evaluate("window.dispatchEvent(new Event('online'))")

    def _answer_poll(self, route: Route) -> None:
        # Only once: a response that is still unread when the test ends would be an error.
        self._rest = self._rest or route.fetch().json()
        route.fulfill(json=self._rest | self._fields)
