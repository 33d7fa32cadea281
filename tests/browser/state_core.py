"""The page's state core in a browser, and the events that a test tells it."""

from __future__ import annotations

from typing import Any

from told_models import NANO, models

STATUS = {
    "state": "ready",
    "model": NANO,
    "device": "cpu",
    "error": None,
    "models": models(),
    "presets": [
        {"id": "caption", "label": "Caption", "prompt": "Describe."},
        {"id": "count", "label": "Count", "prompt": "How many?"},
    ],
}
LOADING = {**STATUS, "state": "loading"}
FAILED = {
    **STATUS,
    "state": "failed",
    "error": {"code": "model_failed", "message": "No such folder."},
}
MODULES = (
    "core/state core/plan core/pace core/settings io/browser "
    "words/page words/models words/destination"
)
STATS = {"ttft_s": 0.1, "tokens_per_s": 20.0, "tokens": 8}


class Core:
    """The state core in a browser, and the events that a test tells it."""

    def __init__(self, modules: Any) -> None:
        self._modules = modules
        self.state: dict[str, Any] = {}
        self.begin()

    def begin(self, **what: Any) -> Core:
        start = {"settings": None, "secure": True, "visible": True, "at": 0, **what}
        self.state = self.run("return M.initialState(arg);", start)
        return self

    def tell(self, type_: str, at: float = 0, **what: Any) -> Core:
        event = {"type": type_, "at": at, "random": 0.5, "clock": at, **what}
        self.state = self.run("return M.reduce(...arg);", [self.state, event])
        return self

    def live(self, at: float = 0, status: dict[str, Any] = STATUS) -> Core:
        """Started, with a camera that shows a picture and a server that answers."""
        self.tell("status-answered", at, status=status).tell("started", at)
        return self.tell("camera-opened", at, request=self.request, deviceId="front")

    def captioned(self, at: float, text: str = "A red circle.", took: float = 100) -> Core:
        """One frame looked at, sent and captioned."""
        self.tell("look-begun", at)
        pass_id = self.pass_id
        self.tell("frame-sent", at, id=pass_id)
        return self.tell("caption-done", at + took, id=pass_id, text=text, stats=STATS)

    @property
    def request(self) -> int:
        return int(self.state["camera"]["request"])

    @property
    def pass_id(self) -> int:
        return int(self.state["pass"]["id"])

    @property
    def plan(self) -> dict[str, Any]:
        plan: dict[str, Any] = self.run("return M.plan(arg);", self.state)
        return plan

    def must_send(self, at: float) -> bool:
        return bool(self.run("return M.mustSend(...arg);", [self.state, at]))

    def notice(self, at: float = 0) -> dict[str, Any] | None:
        notice: dict[str, Any] | None = self.run("return M.noticeOf(...arg);", [self.state, at])
        return notice

    def card(self, at: float = 0) -> dict[str, Any] | None:
        """What is told of a change of models."""
        card: dict[str, Any] | None = self.run("return M.changeCardOf(...arg);", [self.state, at])
        return card

    def run(self, body: str, arg: Any) -> Any:
        return self._modules(MODULES, body, arg)
