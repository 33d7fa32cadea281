// The part of the state core that follows the server: what it says of itself and of its models, and
// what a person asks of those. Pure, as state.js is.

import { backoffMs, freshPace } from "./pace.js";

const STATUS_EVERY_MS = { ready: 3_000, loading: 1_000, failed: 5_000 };
const CHANGE_STATUS_EVERY_MS = 1_000;

/** phase: connecting | loading | ready | failed | gone. Next asked at `askAt`. */
export const initialServer = (at) => ({
  phase: "connecting",
  status: null,
  message: "",
  attempt: 0,
  askAt: at,
});

export const initialModels = {
  /** What is being asked of the server: { id, action: switch | cancel | dismiss, model }, or null. */
  request: null,
  lastRequestId: 0,
  /** Why the last request was turned away: { title, message }. */
  refusal: null,
  /** How the last change ended: { how: "swapped" | "cancelled", title, at }, or null. */
  ending: null,
};

/** The change under way, or null. Over as soon as the new model runs, whatever is tidied up after. */
export function changeOf({ server: { status } }) {
  const change = status?.models?.change ?? null;
  const runs = status?.state === "ready" && status.model === change?.model;
  return runs ? null : change;
}

/** What people call the model of that name; "model" while the server has not settled on one. */
export function titleOf({ server: { status } }, name) {
  if (!name) return "model";
  const choice = status?.models?.choices.find((one) => one.name === name);
  return choice?.title ?? name.split(/[\\/]/).findLast(Boolean) ?? name;
}

export function askSoon(state, at) {
  return { ...state, server: { ...state.server, askAt: at } };
}

export function serverGone(state, message, at, random) {
  const attempt = state.server.phase === "gone" ? state.server.attempt + 1 : 0;
  const askAt = at + backoffMs(attempt, random);
  return { ...state, server: { ...state.server, phase: "gone", message, attempt, askAt } };
}

export const serverHandlers = {
  "status-answered"(state, { status, at }) {
    const phase = status.state;
    const everyMs = status.models?.change ? CHANGE_STATUS_EVERY_MS : STATUS_EVERY_MS[phase];
    const server = {
      phase,
      status,
      message: status.error?.message ?? "",
      attempt: 0,
      askAt: at + everyMs,
    };
    const next = withEnding(state, { ...state, server }, at);
    if (phase !== "ready" || state.server.phase === "ready") return next;
    return state.pass ? next : { ...next, pace: freshPace(at), problem: null };
  },

  "status-missed"(state, { message, at, random }) {
    return serverGone(state, message, at, random);
  },

  "model-chosen"(state, { model }) {
    return withRequest(state, "switch", model);
  },

  "change-cancelled"(state) {
    const change = changeOf(state);
    return change ? withRequest(state, "cancel", change.model) : state;
  },

  /** A person has read what went wrong. */
  "problem-dismissed"(state) {
    const problem = state.server.status?.models?.problem;
    const models = { ...state.models, refusal: null };
    return problem
      ? withRequest({ ...state, models }, "dismiss", problem.model)
      : { ...state, models };
  },

  /** `models` is what `/api/status` would tell of them now. */
  "model-request-answered"(state, { id, models, at }) {
    if (state.models.request?.id !== id) return state;
    const server = { ...state.server, status: { ...state.server.status, models } };
    const next = withEnding(state, { ...state, server }, at);
    return askSoon({ ...next, models: { ...next.models, request: null } }, at);
  },

  "model-request-refused"(state, { id, kind, message, at, random }) {
    const { request } = state.models;
    if (request?.id !== id) return state;
    const next = { ...state, models: { ...state.models, request: null } };
    if (["unreachable", "silent"].includes(kind)) return serverGone(next, message, at, random);
    const refusal = { title: titleOf(state, request.model), message };
    return askSoon({ ...next, models: { ...next.models, refusal } }, at);
  },
};

/** One request at a time: what is pressed while one is on its way counts for nothing. */
function withRequest(state, action, model) {
  if (state.models.request) return state;
  const id = state.models.lastRequestId + 1;
  const request = { id, action, model };
  const models = { ...state.models, request, lastRequestId: id, refusal: null, ending: null };
  return { ...state, models };
}

/** `next` with word of how a change ended, if `next` is the first state to know. */
function withEnding(state, next, at) {
  const [before, after] = [state.server.status, next.server.status];
  const wasThere = ["ready", "failed"].includes(state.server.phase);
  const isAnother = before?.state === "failed" || before?.model !== after.model;
  if (wasThere && isAnother && after.state === "ready") {
    const ending = { how: "swapped", title: titleOf(next, after.model), at };
    // The words on the screen are the old model's: the new one is shown even a still scene.
    const pace = { ...state.pace, lookAt: Math.min(state.pace.lookAt, at), force: true };
    return { ...next, models: { ...next.models, refusal: null, ending }, pace };
  }
  const change = changeOf(state);
  const isOver = change && !after.models?.change && !after.models?.problem;
  const gaveUp = change?.cancelling || state.models.request?.action === "cancel";
  if (!isOver || !gaveUp) return next;
  const ending = { how: "cancelled", title: change.title, at };
  return { ...next, models: { ...next.models, refusal: null, ending } };
}
