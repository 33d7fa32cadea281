// The part of the state that mirrors the server: its status, its models, and requests about them.
// Pure, as state.js.

import { backoffMs, freshPace } from "./pace.js";

const POLL_INTERVAL_MS = { ready: 3_000, loading: 1_000, failed: 5_000 };
const CHANGE_POLL_INTERVAL_MS = 1_000;

/** phase: connecting | loading | ready | failed | gone. `pollAt` is when the status is polled next. */
export const initialServer = (at) => ({
  phase: "connecting",
  status: null,
  message: "",
  /** Failed polls in a row, less one. */
  attempt: 0,
  pollAt: at,
});

export const initialModels = {
  /** The request in flight: { id, action: switch | cancel | dismiss, model }, or null. */
  request: null,
  lastRequestId: 0,
  /** Why the last request was refused: { title, message }. */
  refusal: null,
  /** How the last change ended: { how: "swapped" | "cancelled", title, at }, or null. */
  ending: null,
};

/** The change of models in progress, or null. It ends when the new model runs, before any clean-up. */
export function changeOf({ server: { status } }) {
  const change = status?.models?.change ?? null;
  const runs = status?.state === "ready" && status.model === change?.model;
  return runs ? null : change;
}

/** Whether this browser may change the model; on another machine it may not, if nobody allowed it. */
export function mayChangeModels({ server: { status } }) {
  return status?.can_change_models ?? false;
}

/** The display name of the model `name`; "model" if `name` is null. */
export function titleOf({ server: { status } }, name) {
  if (!name) return "model";
  const entry = status?.models?.choices.find((one) => one.name === name);
  return entry?.title ?? name.split(/[\\/]/).findLast(Boolean) ?? name;
}

export function pollSoon(state, at) {
  return { ...state, server: { ...state.server, pollAt: at } };
}

export function serverUnreachable(state, message, at, random) {
  const attempt = state.server.phase === "gone" ? state.server.attempt + 1 : 0;
  const pollAt = at + backoffMs(attempt, random);
  return { ...state, server: { ...state.server, phase: "gone", message, attempt, pollAt } };
}

export const serverHandlers = {
  "status-received"(state, { status, at }) {
    const phase = status.state;
    const everyMs = status.models?.change ? CHANGE_POLL_INTERVAL_MS : POLL_INTERVAL_MS[phase];
    const server = {
      phase,
      status,
      message: status.error?.message ?? "",
      attempt: 0,
      pollAt: at + everyMs,
    };
    const next = withEnding(state, { ...state, server }, at);
    if (phase !== "ready" || state.server.phase === "ready") return next;
    return state.request ? next : { ...next, pace: freshPace(at), problem: null };
  },

  "status-failed"(state, { message, at, random }) {
    return serverUnreachable(state, message, at, random);
  },

  "model-chosen"(state, { model }) {
    return withRequest(state, "switch", model);
  },

  "change-cancelled"(state) {
    const change = changeOf(state);
    return change ? withRequest(state, "cancel", change.model) : state;
  },

  /** "Dismiss" was pressed. A problem is dismissed on the server too, a refusal only here. */
  "problem-dismissed"(state) {
    const problem = state.server.status?.models?.problem;
    const models = { ...state.models, refusal: null };
    return problem
      ? withRequest({ ...state, models }, "dismiss", problem.model)
      : { ...state, models };
  },

  /** `models` is the current `models` of `/api/status`. */
  "model-request-done"(state, { id, models, at }) {
    if (state.models.request?.id !== id) return state;
    const server = { ...state.server, status: { ...state.server.status, models } };
    const next = withEnding(state, { ...state, server }, at);
    return pollSoon({ ...next, models: { ...next.models, request: null } }, at);
  },

  "model-request-failed"(state, { id, kind, message, at, random }) {
    const { request } = state.models;
    if (request?.id !== id) return state;
    const next = { ...state, models: { ...state.models, request: null } };
    if (["unreachable", "timeout"].includes(kind)) {
      return serverUnreachable(next, message, at, random);
    }
    const refusal = { title: titleOf(state, request.model), message };
    return pollSoon({ ...next, models: { ...next.models, refusal } }, at);
  },
};

/** `state` with a new model request; unchanged while another one is in flight. */
export function withRequest(state, action, model) {
  if (state.models.request) return state;
  const id = state.models.lastRequestId + 1;
  const request = { id, action, model };
  const models = { ...state.models, request, lastRequestId: id, refusal: null, ending: null };
  return { ...state, models };
}

/** `next` with the ending of a change, if the change ended between `state` and `next`. */
function withEnding(state, next, at) {
  const [before, after] = [state.server.status, next.server.status];
  const wasReachable = ["ready", "failed"].includes(state.server.phase);
  const isAnother = before?.state === "failed" || before?.model !== after.model;
  if (wasReachable && isAnother && after.state === "ready") {
    const ending = { how: "swapped", title: titleOf(next, after.model), at };
    // The caption on the screen is the old model's, so the new one captions even an unchanged scene.
    const pace = { ...state.pace, captureAt: Math.min(state.pace.captureAt, at), force: true };
    return { ...next, models: { ...next.models, refusal: null, ending }, pace };
  }
  const change = changeOf(state);
  const isOver = change && !after.models?.change && !after.models?.problem;
  const isCancelled = change?.cancelling || state.models.request?.action === "cancel";
  if (!isOver || !isCancelled) return next;
  const ending = { how: "cancelled", title: change.title, at };
  return { ...next, models: { ...next.models, refusal: null, ending } };
}
