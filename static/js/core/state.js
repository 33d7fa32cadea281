// The page's state and its one reducer: a state and an event in, the next state out. No DOM, clock or
// randomness: each event carries the time `at` (monotonic milliseconds) and, if needed, a `random`
// number (0..1). plan.js derives the work to do from the state, words/ the text to show.

import { backoffMs, freshPace, nextCapture, nextCaptureAfterGap } from "./pace.js";
import {
  initialModels,
  initialServer,
  pollSoon,
  serverHandlers,
  serverUnreachable,
} from "./server.js";
import { validSettings } from "./settings.js";

const HISTORY_LIMIT = 500;
const RETRY_AFTER_LIMIT_S = 60;

/** `secure`: the browser lets this page use a camera at all. */
export function initialState({ settings, secure, visible, at }) {
  return {
    settings: validSettings(settings),
    secure,
    visible,
    /** Captions were started and not stopped. */
    started: false,
    /** The open panel: "preferences", "history", or null. */
    panel: null,
    server: initialServer(at),
    models: initialModels,
    /** phase: off | opening | live | failed. `attempt` counts the openings; events name theirs. */
    camera: {
      phase: "off",
      attempt: 0,
      problem: null,
      since: at,
      muted: false,
      devices: [],
      deviceId: "",
    },
    /**
     * The frame in flight: { id, step, prompt, kind, capturedAt, firstWordAt, model }, or null.
     * step: capturing | sent | answering.
     */
    request: null,
    lastRequestId: 0,
    /** The prompt of the last finished caption. */
    answeredPrompt: null,
    /** When to capture next, when a frame was last sent, and whether the next is sent if unchanged. */
    pace: freshPace(at),
    /** Why the last frame failed: { kind, message }. */
    problem: null,
    /** The caption on the screen; `capturedAt` is when its frame was captured. */
    caption: { text: "", finished: true, capturedAt: null },
    /** Figures of the last finished caption; `steady` while the scene has not changed since. */
    readout: { firstWordMs: null, wordsPerS: null, steady: false },
    /** This session's captions, oldest first: { id, text, prompt, clock, lastClock }. */
    history: [],
  };
}

/** The prompt for the next frame, or null until the server has sent its presets. */
export function promptOf({ settings, server }) {
  const own = settings.ownPrompt.trim();
  if (settings.asksOwn && own) return own;
  const presets = server.status?.presets ?? [];
  return (presets.find(({ id }) => id === settings.preset) ?? presets[0])?.prompt ?? null;
}

export function reduce(state, event) {
  return handlers[event.type](state, event);
}

const handlers = {
  ...serverHandlers,

  started(state, { at }) {
    if (state.started) return state;
    return openCamera(pollSoon({ ...state, started: true, problem: null }, at), at);
  },

  stopped(state, { at }) {
    const camera = { ...state.camera, phase: "off", problem: null, since: at };
    const caption = lastFinishedCaption(state);
    const next = { ...state, started: false, camera, caption, request: null, problem: null };
    return { ...next, pace: freshPace(at) };
  },

  "setting-changed"(state, { name, value, at }) {
    const before = promptOf(state);
    const settings = validSettings({ ...state.settings, [name]: value });
    const next = { ...state, settings };
    const isOpen = state.camera.phase === "live" && value === state.camera.deviceId;
    if (name === "deviceId" && state.started && !isOpen) return openCamera(next, at);
    if (name === "intervalS") {
      const captureAt = Math.min(state.pace.captureAt, at + settings.intervalS * 1000);
      return { ...next, pace: { ...state.pace, captureAt } };
    }
    return promptOf(next) === before ? next : restartCapture(next, at);
  },

  "panel-toggled"(state, { panel }) {
    return { ...state, panel: state.panel === panel ? null : panel };
  },

  "visibility-changed"(state, { visible, at }) {
    const next = { ...state, visible };
    return visible ? pollSoon(next, at) : next;
  },

  /** "Try again" was pressed, or the network is back. */
  retried(state, { at }) {
    const next = pollSoon({ ...state, pace: freshPace(at), problem: null }, at);
    return state.started && state.camera.phase === "failed" ? openCamera(next, at) : next;
  },

  // -- the camera --

  "camera-opened"(state, { attempt, deviceId, at }) {
    if (attempt !== state.camera.attempt || state.camera.phase !== "opening") return state;
    const camera = {
      ...state.camera,
      phase: "live",
      problem: null,
      since: at,
      muted: false,
      deviceId,
    };
    return { ...state, camera, pace: freshPace(at) };
  },

  "camera-failed"(state, { attempt, problem, at }) {
    if (attempt !== state.camera.attempt || !state.started) return state;
    const camera = { ...state.camera, phase: "failed", problem, since: at };
    return { ...state, camera, request: null };
  },

  "camera-muted"(state, { attempt, muted }) {
    if (attempt !== state.camera.attempt) return state;
    return { ...state, camera: { ...state.camera, muted } };
  },

  /** `changed`: a camera was plugged in or removed, or the permission changed. */
  "devices-listed"(state, { devices, changed, at }) {
    const next = { ...state, camera: { ...state.camera, devices } };
    const canRetry = state.started && state.camera.phase === "failed";
    return changed && canRetry && devices.length > 0 ? openCamera(next, at) : next;
  },

  // -- a frame and its request --

  "capture-started"(state, { at }) {
    const id = state.lastRequestId + 1;
    const prompt = promptOf(state);
    const request = {
      id,
      step: "capturing",
      prompt,
      kind: kindOf(state, prompt),
      capturedAt: at,
      firstWordAt: null,
      model: runningModel(state),
    };
    return { ...state, request, lastRequestId: id };
  },

  /** The scene looks as in the last captioned frame, so nothing is sent. */
  "frame-unchanged"(state, { id, at }) {
    if (state.request?.id !== id) return state;
    const readout = { ...state.readout, steady: true };
    const pace = { ...state.pace, captureAt: nextCaptureAfterGap(state, at) };
    return { ...state, request: null, readout, pace };
  },

  "frame-sent"(state, { id }) {
    if (state.request?.id !== id) return state;
    const request = { ...state.request, step: "sent" };
    return { ...state, request, pace: { ...state.pace, sentAt: request.capturedAt } };
  },

  "text-received"(state, { id, text, at }) {
    if (state.request?.id !== id) return state;
    const firstWordAt = state.request.firstWordAt ?? at;
    const request = { ...state.request, step: "answering", firstWordAt };
    const { capturedAt } = request;
    const readout = { ...state.readout, firstWordMs: firstWordAt - capturedAt, steady: false };
    return { ...state, request, readout, caption: { text, finished: false, capturedAt } };
  },

  "caption-done"(state, { id, text, stats, at, clock }) {
    if (state.request?.id !== id) return state;
    const { prompt, capturedAt, firstWordAt, model } = state.request;
    return {
      ...state,
      request: null,
      answeredPrompt: prompt,
      problem: null,
      caption: { text, finished: true, capturedAt },
      readout: {
        firstWordMs: (firstWordAt ?? at) - capturedAt,
        wordsPerS: wordsPerS(text, stats),
        steady: false,
      },
      history: withCaption(state.history, { id, text, prompt, clock, lastClock: clock }),
      pace: {
        ...state.pace,
        captureAt: Math.max(at, nextCapture(state)),
        // If the model has changed meanwhile, the new one has not seen the scene yet.
        force: model !== runningModel(state),
        failures: 0,
      },
    };
  },

  "request-failed"(state, { id, kind, message, retryAfterS = 0, at, random }) {
    if (state.request?.id !== id) return state;
    const next = { ...state, request: null };
    const polled = pollSoon(next, at);
    if (kind === "unreachable") return serverUnreachable(next, message, at, random);
    if (kind === "loading") return { ...polled, server: { ...polled.server, phase: "loading" } };
    if (kind === "model_failed")
      return { ...polled, server: { ...polled.server, phase: "failed", message } };
    if (kind === "superseded") {
      // Two tabs with one camera name would supersede each other in a loop if they retried at once.
      const captureAt = nextCaptureAfterGap(state, at);
      return { ...next, pace: { ...state.pace, captureAt, force: true } };
    }
    const retryAfterMs = Math.min(retryAfterS, RETRY_AFTER_LIMIT_S) * 1000;
    const pace = {
      ...state.pace,
      captureAt: at + Math.max(retryAfterMs, backoffMs(state.pace.failures, random)),
      force: true,
      failures: state.pace.failures + 1,
    };
    return { ...(kind === "timeout" ? polled : next), problem: { kind, message }, pace };
  },

  "history-cleared"(state) {
    return { ...state, history: [] };
  },
};

/** A typed prompt is a "question" until its first answer; then it is the prompt of "live" frames. */
function kindOf({ settings, answeredPrompt }, prompt) {
  const isTyped = settings.asksOwn && settings.ownPrompt.trim() === prompt;
  return isTyped && answeredPrompt !== prompt ? "question" : "live";
}

const runningModel = ({ server }) => server.status?.model ?? null;

/** Drop the frame in flight and capture a new one at once. */
function restartCapture(state, at) {
  return { ...state, request: null, problem: null, pace: freshPace(at) };
}

function openCamera(state, at) {
  const attempt = state.camera.attempt + 1;
  const camera = { ...state.camera, phase: "opening", attempt, problem: null, since: at };
  return { ...restartCapture(state, at), camera };
}

/** The caption on the screen; if it is unfinished, the finished one before it. */
function lastFinishedCaption({ caption, history }) {
  if (caption.finished) return caption;
  return { text: history.at(-1)?.text ?? "", finished: true, capturedAt: null };
}

/** The rate in words per second, or null if there were too few tokens to measure one. */
function wordsPerS(text, { tokens, tokens_per_s: tokensPerS }) {
  if (!(tokens > 0 && tokensPerS > 0)) return null;
  return (text.split(/\s+/).filter(Boolean).length / tokens) * tokensPerS;
}

/** `history` with `entry`. A caption equal to the last one only extends its time span. */
function withCaption(history, entry) {
  if (!entry.text.trim()) return history;
  const last = history.at(-1);
  const same = last && last.text === entry.text && last.prompt === entry.prompt;
  if (same) return [...history.slice(0, -1), { ...last, lastClock: entry.lastClock }];
  return [...history, entry].slice(-HISTORY_LIMIT);
}
