"""What a server may tell of other servers that run its model, for laws about one moment."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, Route
from told_models import models

NEAR = "http://127.0.0.1:8001"
FAR = "http://10.0.0.5:8000"
OTHER = "http://10.0.0.6:8000"
ENCRYPTED = "https://gpu.example.org"
MODEL = "HuggingFaceTB/SmolVLM-256M-Instruct"
TITLE = "SmolVLM-256M-Instruct"
UNREACHABLE = "cannot be reached: nothing listens there."


def upstream(origin: str, problem: str | None = None, **what: Any) -> dict[str, Any]:
    """One of the `upstreams` of `/api/status`: it answers, unless it has a problem."""
    return {
        "origin": origin,
        "healthy": problem is None,
        "outstanding": 0,
        "requests": 12,
        "failures": 0,
        "retries": 0,
        "model": MODEL,
        "problem": problem,
    } | what


def remote(*upstreams: dict[str, Any]) -> dict[str, Any]:
    """The fields of `/api/status` that differ where other servers run the model."""
    origins = list(dict.fromkeys(each["origin"] for each in upstreams))
    return {
        "model": MODEL,
        "runtime": "openai",
        "device": "remote",
        "dtype": "",
        "models": models(None, choices=[]),
        "remote": {"origins": origins, "upstreams": list(upstreams)},
    }


class ToldUpstreams:
    """The server of `page` as one that sends frames on; `tell` says how the others are."""

    def __init__(self, page: Page, *upstreams: dict[str, Any]) -> None:
        self._page = page
        self._rest: dict[str, Any] = {}
        self._told = remote(*upstreams)
        page.route("**/api/status", self._status)

    def tell(self, *upstreams: dict[str, Any], **what: Any) -> None:
        """From now on."""
        self._told = remote(*upstreams) | what
        # The page then asks at once.
        self._page.evaluate("window.dispatchEvent(new Event('online'))")

    def _status(self, route: Route) -> None:
        # Once only: an answer that is still to be read when the test ends would be an error.
        self._rest = self._rest or route.fetch().json()
        route.fulfill(json=self._rest | self._told)
