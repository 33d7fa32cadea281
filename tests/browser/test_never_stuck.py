"""Random event sequences: the page always makes progress or shows why not."""

from __future__ import annotations

from model_states import SMALL, fetching, models, problem
from state_core import FAILED, LOADING, STATS, STATUS

RANDOM_EVENTS = """
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const pick = (things) => things[Math.floor(random() * things.length)];
  let at = 0;
  let state = M.initialState({ settings: null, secure: true, visible: true, at });
  const wrong = [];
  for (let step = 0; step < 4000; step += 1) {
    at += Math.floor(random() * 2000);
    const id = pick([state.request?.id ?? 0, state.lastRequestId, 0]);
    const attempt = pick([state.camera.attempt, state.camera.attempt - 1]);
    const modelId = state.models.request?.id ?? 0;
    const before = M.plan(state);
    const type = pick([
      "started", "stopped", "setting-changed", "panel-toggled", "visibility-changed", "retried",
      "status-received", "status-received", "status-failed", "camera-opened", "camera-opened",
      "camera-failed", "camera-muted", "camera-stalled", "camera-retry-due", "any-camera-asked",
      "network-returned", "devices-listed", "capture-started", "capture-started",
      "capture-started", "frame-unchanged", "frame-black", "frame-refuted", "frame-sent",
      "frame-sent", "text-received",
      "caption-done", "request-failed",
      "history-cleared", "model-chosen", "change-cancelled", "problem-dismissed",
      "model-request-done", "model-request-done", "model-request-failed",
    ]);
    // The driver captures only when the plan calls for it.
    const canCapture = before.captureAt !== null && before.captureAt <= at;
    if (type === "capture-started" && !canCapture) continue;
    const [name, value] = pick([
      ["deviceId", pick(["a", "b"])], ["intervalS", pick([0, 1, 30])], ["mirror", true], ["fit", 7],
      ["ownPrompt", pick(["", "why"])], ["asksOwn", random() < 0.5],
      ["preset", pick(["caption", "count", "gone"])],
    ]);
    state = M.reduce(state, {
      type, at, attempt, name,
      id: type.startsWith("model-") ? pick([modelId, modelId, modelId - 1]) : id,
      model: "smolvlm-256m", models: pick(arg.statuses).models, value, random: random(), clock: at,
      visible: random() < 0.7, panel: pick(["history", "preferences"]),
      status: pick(arg.statuses), message: "words", deviceId: "a", muted: random() < 0.2,
      stalled: random() < 0.3, silentMs: pick([undefined, 0, 900]),
      problem: pick([
        "denied", "dismissed", "system", "embedded", "missing", "ended", "taken", "silent",
        "unknown",
      ]),
      devices: pick([[], [{ deviceId: "a", label: "A" }], [{ deviceId: "", label: "" }]]),
      changed: random() < 0.5, permission: pick(["", "granted", "denied", "prompt"]),
      text: pick(["", "A", "A red star."]), stats: pick(arg.stats),
      kind: pick([
        "unreachable", "timeout", "busy", "loading", "model_failed", "refused", "no_frame",
      ]),
      retryAfterS: pick([undefined, 1, 1e12]),
    });
    const planned = M.plan(state);
    // The notice of a mute comes 3 s later.
    const notice = M.noticeOf(state, state.camera.mutedSince === null ? at : at + 3000);
    M.chipOf(state, at); M.areOldWords(state, at); M.serverSummary(state);
    M.changeCardOf(state, at); M.changeAnnouncement(state, at);
    M.modelListOf(state); M.pickerHint(state);
    const report = (fault) => wrong.push(`${fault} after ${type} at step ${step}`);
    if (state.request && !state.started) report("a request is in flight after stop");
    if (!state.visible) continue;
    const waits = [planned.pollAt, planned.captureAt].filter((one) => one !== null);
    if (waits.some((one) => !Number.isFinite(one) || one > at + 61000)) report("waits forever");
    const works = waits.length > 0 || planned.requestId !== null || planned.modelRequest !== null;
    if (!works) report("has nothing to do");
    if (!state.started || planned.captureAt !== null || planned.requestId !== null) continue;
    const opens = state.camera.phase === "opening";
    if (!opens && !notice) report("captions stopped without a notice");
  }
  return wrong;
"""


def test_page_always_makes_progress_or_shows_a_notice(core):
    changing = {**STATUS, "models": models(change=fetching())}
    swapped = {**STATUS, "model": SMALL, "models": models(SMALL)}
    broken = {**STATUS, "models": models(problem=problem())}
    statuses = [STATUS, LOADING, FAILED, changing, swapped, broken]
    arg = {"seeds": [1, 2, 3, 4, 5], "statuses": statuses, "stats": [STATS, {}]}
    assert core.run(f"return arg.seeds.map((seed) => {{ {RANDOM_EVENTS} }});", arg) == [[]] * 5
