"""What a server may tell of its models, for laws about one moment of a change."""

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


def models(running: str | None = NANO, **what: Any) -> dict[str, Any]:
    """The `models` of `/api/status`: two are here, one can be fetched, the largest does not fit."""
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
    } | what


def fetching(received_bytes: int = 120_000_000, **what: Any) -> dict[str, Any]:
    """A `change` that fetches the 256M."""
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
    } | what


def loading(**what: Any) -> dict[str, Any]:
    """A `change` that loads the 256M."""
    return fetching(513_000_000, step="loading", bytes_per_s=0.0, left_s=None) | what


def problem(**what: Any) -> dict[str, Any]:
    """A `problem` of a fetch that came to nothing."""
    return {
        "model": SMALL,
        "title": SMALL_TITLE,
        "code": "fetch_failed",
        "message": "The model hub answered with an error (500). Try again later.",
    } | what


class ToldModels:
    """The server of `page` with the models that a test tells; `asked` is what the page asks."""

    def __init__(self, page: Page) -> None:
        self.model = NANO
        self.models = models()
        self.refusal: dict[str, Any] | None = None
        self.asked: list[tuple[str, Any]] = []
        self._page = page
        self._then: dict[str, Any] | None = None
        self._rest: dict[str, Any] = {}
        page.route("**/api/status", self._status)
        page.route("**/api/models/*", self._asked)

    def tell(self, model: str = NANO, **what: Any) -> None:
        """From now on."""
        self.model = model
        self.models = models(model, **what)
        # The page then asks at once.
        self._page.evaluate("window.dispatchEvent(new Event('online'))")

    def tell_when_asked(self, **what: Any) -> None:
        """From the answer to the next request on."""
        self._then = models(self.model, **what)

    def _status(self, route: Route) -> None:
        # Once only: an answer that is still to be read when the test ends would be an error.
        self._rest = self._rest or route.fetch().json()
        route.fulfill(json=self._rest | {"model": self.model, "models": self.models})

    def _asked(self, route: Route) -> None:
        self.asked.append((route.request.url.rsplit("/", 1)[1], route.request.post_data_json))
        self.models, self._then = self._then or self.models, None
        if self.refusal:
            route.fulfill(status=409, json={"error": self.refusal})
        else:
            route.fulfill(status=202, json=self.models)
