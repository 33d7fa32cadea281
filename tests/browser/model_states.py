"""States of the models in `/api/status`, and a page whose server reports them."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, Route

NANO = "nano"
SMALL = "smolvlm-256m"
LARGE = "smolvlm-2.2b"
SMALL_TITLE = "SmolVLM 256M"

_CHOICES = (
    (NANO, "nano", "Drawn shapes; part of Sightline.", 0, 60_000_000, True),
    (SMALL, SMALL_TITLE, "Real scenes on a small machine.", 513_000_000, 1_200_000_000, False),
    (
        "smolvlm2-256m-video",
        "SmolVLM2 256M Video",
        "As the 256M, also taught on films.",
        514_000_000,
        1_200_000_000,
        True,
    ),
    (LARGE, "SmolVLM 2.2B", "The best captions; needs a GPU.", 4_490_000_000, 6_100_000_000, False),
)


def models(running: str | None = NANO, **fields: Any) -> dict[str, Any]:
    """Return the `models` of `/api/status`: two installed, one to download, one too large."""
    choices = [
        {
            "name": name,
            "title": title,
            "good_for": good_for,
            "download_bytes": download_bytes,
            "received_bytes": 0,
            "memory_bytes": memory_bytes,
            "here": here,
            "fits": name != LARGE,
            "running": name == running,
        }
        for name, title, good_for, download_bytes, memory_bytes, here in _CHOICES
    ]
    return {
        "auto": True,
        "offline": False,
        "choices": choices,
        "change": None,
        "problem": None,
    } | fields


def fetching(received_bytes: int = 120_000_000, **fields: Any) -> dict[str, Any]:
    """Return a `change` that downloads the 256M."""
    return {
        "model": SMALL,
        "title": SMALL_TITLE,
        "step": "fetching",
        "received_bytes": received_bytes,
        "total_bytes": 513_000_000,
        "bytes_per_s": 8_200_000.0,
        "left_s": 47.6,
        "detail": None,
        "cancelling": False,
    } | fields


def loading(**fields: Any) -> dict[str, Any]:
    """Return a `change` that loads the 256M."""
    return fetching(513_000_000, step="loading", bytes_per_s=0.0, left_s=None) | fields


def problem(**fields: Any) -> dict[str, Any]:
    """Return the `problem` of a failed download."""
    return {
        "model": SMALL,
        "title": SMALL_TITLE,
        "code": "fetch_failed",
        "message": "The model hub answered with an error (500). Try again later.",
    } | fields


class FakeModels:
    """Answers the status polls and model requests of `page`; `requests` are those received."""

    def __init__(self, page: Page) -> None:
        self.model = NANO
        self.models = models()
        self.refusal: dict[str, Any] | None = None
        self.requests: list[tuple[str, Any]] = []
        self._page = page
        self._then: dict[str, Any] | None = None
        self._rest: dict[str, Any] = {}
        page.route("**/api/status", self._answer_poll)
        page.route("**/api/models/*", self._answer_request)

    def set(self, model: str = NANO, **fields: Any) -> None:
        """Set the models for all later polls."""
        self.model = model
        self.models = models(model, **fields)
        # This makes the page poll at once.
        self._page.evaluate("window.dispatchEvent(new Event('online'))")

    def set_after_request(self, **fields: Any) -> None:
        """Set the models from the response to the next model request on."""
        self._then = models(self.model, **fields)

    def _answer_poll(self, route: Route) -> None:
        # Only once: a response that is still unread when the test ends would be an error.
        self._rest = self._rest or route.fetch().json()
        route.fulfill(json=self._rest | {"model": self.model, "models": self.models})

    def _answer_request(self, route: Route) -> None:
        self.requests.append((route.request.url.rsplit("/", 1)[1], route.request.post_data_json))
        self.models, self._then = self._then or self.models, None
        if self.refusal:
            route.fulfill(status=409, json={"error": self.refusal})
        else:
            route.fulfill(status=202, json=self.models)
