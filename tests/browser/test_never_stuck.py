"""Thousands of random lives of the page: it goes on, or says why not."""

from __future__ import annotations

import pytest
from state_core import FAILED, LOADING, STATS, STATUS
from told_models import SMALL, fetching, models, problem

RANDOM_LIVES = """
  let seed = arg.seed;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const pick = (things) => things[Math.floor(random() * things.length)];
  let at = 0;
  let state = M.initialState({ settings: null, secure: true, visible: true, at });
  const wrong = [];
  for (let step = 0; step < 4000; step += 1) {
    at += Math.floor(random() * 2000);
    const id = pick([state.pass?.id ?? 0, state.lastPassId, 0]);
    const request = pick([state.camera.request, state.camera.request - 1]);
    const asked = state.models.request?.id ?? 0;
    const asks = M.plan(state);
    const type = pick([
      "started", "stopped", "setting-changed", "panel-toggled", "visibility-changed", "retried",
      "status-answered", "status-answered", "status-missed", "camera-opened", "camera-opened",
      "camera-failed", "camera-muted", "devices-listed", "look-begun", "look-begun", "look-begun",
      "frame-unchanged", "frame-sent", "frame-sent", "words-arrived", "caption-done", "pass-failed",
      "history-cleared", "model-chosen", "change-cancelled", "problem-dismissed",
      "model-request-answered", "model-request-answered", "model-request-refused",
    ]);
    // The driver begins a look only when the plan asks for one.
    if (type === "look-begun" && !(asks.lookAt !== null && asks.lookAt <= at)) continue;
    const [name, value] = pick([
      ["deviceId", pick(["a", "b"])], ["intervalS", pick([0, 1, 30])], ["mirror", true], ["fit", 7],
      ["ownPrompt", pick(["", "why"])], ["asksOwn", random() < 0.5],
      ["preset", pick(["caption", "count", "gone"])],
    ]);
    state = M.reduce(state, {
      type, at, request, name,
      id: type.startsWith("model-") ? pick([asked, asked, asked - 1]) : id,
      model: "smolvlm-256m", models: pick(arg.statuses).models, value, random: random(), clock: at,
      visible: random() < 0.7, panel: pick(["history", "preferences"]),
      status: pick(arg.statuses), message: "words", deviceId: "a", muted: random() < 0.2,
      problem: pick(["denied", "missing", "ended", "taken", "silent", "unknown"]),
      devices: pick([[], [{ deviceId: "a", label: "A" }]]), changed: random() < 0.5,
      text: pick(["", "A", "A red star."]), stats: pick(arg.stats),
      kind: pick([
        "unreachable", "silent", "busy", "loading", "model_failed", "refused", "no_frame",
      ]),
      retryAfterS: pick([undefined, 1, 1e12]),
    });
    const wants = M.plan(state);
    const notice = M.noticeOf(state, at);
    M.readoutOf(state, at); M.serverLine(state);
    M.changeCardOf(state, at); M.changeNews(state, at); M.choicesOf(state); M.pickerHint(state);
    const tell = (law) => wrong.push(`${law} after ${type} at step ${step}`);
    if (state.pass && !state.wanted) tell("a frame is under way though nobody wants one");
    if (!state.visible) continue;
    const waits = [wants.askAt, wants.lookAt].filter((one) => one !== null);
    if (waits.some((one) => !Number.isFinite(one) || one > at + 61000)) tell("waits without end");
    const works = waits.length > 0 || wants.passId !== null || wants.modelRequest !== null;
    if (!works) tell("asks for nothing");
    if (!state.wanted || wants.lookAt !== null || wants.passId !== null) continue;
    const opens = state.camera.phase === "opening";
    if (!opens && !notice) tell("captions stand still without a word");
  }
  return wrong;
"""


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_whatever_happens_the_page_goes_on_or_says_why_not(core, seed):
    changing = {**STATUS, "models": models(change=fetching())}
    swapped = {**STATUS, "model": SMALL, "models": models(SMALL)}
    broken = {**STATUS, "models": models(problem=problem())}
    statuses = [STATUS, LOADING, FAILED, changing, swapped, broken]
    arg = {"seed": seed, "statuses": statuses, "stats": [STATS, {}]}
    assert core.run(RANDOM_LIVES, arg) == []
