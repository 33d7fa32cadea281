"""The page's state core in a browser, with the events of a test."""

from __future__ import annotations

from typing import Any

from model_states import NANO, models

STATUS = {
    "state": "ready",
    "model": NANO,
    "device": "cpu",
    "error": None,
    "models": models(),
    "can_change_models": True,
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
    "core/language words/page words/camera words/models words/destination words/messages "
    "core/shown core/running words/boxes words/session words/session-files "
    "core/session core/session-kept "
    "core/boxes core/checks core/find core/tracks "
    "core/thread core/voice words/ask words/settings words/voice"
)
# Replays events on a state. An event without an `id` or `attempt` gets the current one.
REPLAY = """
  let state = arg.state ?? M.initialState(arg.start);
  for (const event of arg.events) {
    const { request } = event.type.startsWith("model-request-") ? state.models : state;
    const current = { id: request?.id, attempt: state.camera.attempt };
    state = M.reduce(state, { ...current, ...event });
  }
  return { state, plan: M.plan(state) };
"""
STATS = {"ttft_s": 0.1, "tokens_per_s": 20.0, "tokens": 8}


class Core:
    """The state core in a browser.

    Events are queued here and replayed in the browser when a result is read: a round trip costs
    more than all the events of a test.
    """

    def __init__(self, modules: Any) -> None:
        self._modules = modules
        self.begin()

    def begin(self, **fields: Any) -> Core:
        """Return to the initial state."""
        self._start = {"settings": None, "secure": True, "visible": True, "at": 0, **fields}
        self._current: dict[str, Any] = {}
        self._events: list[dict[str, Any]] = []
        return self

    def dispatch(self, type_: str, at: float = 0, **fields: Any) -> Core:
        self._events.append({"type": type_, "at": at, "random": 0.5, "clock": at, **fields})
        return self

    def live(self, at: float = 0, status: dict[str, Any] = STATUS) -> Core:
        """Start captions, with a live camera and a ready server."""
        self.dispatch("status-received", at, status=status).dispatch("started", at)
        return self.dispatch("camera-opened", at, deviceId="front")

    def captioned(self, at: float, text: str = "A red circle.", took: float = 100) -> Core:
        """Capture, send and caption one frame."""
        self.dispatch("capture-started", at).dispatch("frame-sent", at)
        return self.dispatch("caption-done", at + took, text=text, stats=STATS)

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._replayed()["state"]
        return state

    @property
    def plan(self) -> dict[str, Any]:
        plan: dict[str, Any] = self._replayed()["plan"]
        return plan

    def must_send(self, at: float) -> bool:
        return bool(self.run("return M.mustSend(...arg);", [self.state, at]))

    def notice(self, at: float = 0) -> dict[str, Any] | None:
        notice: dict[str, Any] | None = self.run("return M.noticeOf(...arg);", [self.state, at])
        return notice

    def card(self, at: float = 0) -> dict[str, Any] | None:
        """The card of a change of models."""
        card: dict[str, Any] | None = self.run("return M.changeCardOf(...arg);", [self.state, at])
        return card

    def run(self, body: str, arg: Any = None, modules: str = "") -> Any:
        return self._modules(f"{MODULES} {modules}".strip(), body, arg)

    def _replayed(self) -> dict[str, Any]:
        if self._events or not self._current:
            state = self._current.get("state")
            arg = {"start": self._start, "state": state, "events": self._events}
            self._current = self.run(REPLAY, arg)
            self._events = []
        return self._current
