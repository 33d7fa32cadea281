// The page's state core: a state and an event in, the next state out. No DOM, no clock, no chance:
// events carry the time `at` (milliseconds, monotonic) and a `random` number (0..1) where one is due.
// What the state asks of the world is read from it in plan.js, what it says to people in words.js.

import { backoffMs, freshPace, nextLook, nextLookAfterGap } from "./pace.js";
import { askSoon, initialModels, initialServer, serverGone, serverHandlers } from "./server.js";
import { lawfulSettings } from "./settings.js";

const HISTORY_LIMIT = 500;
const RETRY_AFTER_LIMIT_S = 60;

/** `secure` tells whether the browser lends cameras to this page at all. */
export function initialState({ settings, secure, visible, at }) {
  return {
    settings: lawfulSettings(settings),
    secure,
    visible,
    wanted: false,
    /** One of "preferences", "history", or null. */
    panel: null,
    server: initialServer(at),
    models: initialModels,
    /** phase: off | opening | live | failed. `request` names the opening that is under way. */
    camera: {
      phase: "off",
      request: 0,
      problem: null,
      since: at,
      muted: false,
      devices: [],
      deviceId: "",
    },
    /** The frame under way: { id, step: looking | sent | speaking, prompt, kind, takenAt, model }. */
    pass: null,
    /** What was asked about the frame that was captioned last. */
    answered: null,
    lastPassId: 0,
    /** When to look next, when a frame was last sent, and whether the next is sent even if unchanged. */
    pace: { lookAt: at, sentAt: -Infinity, force: true, failures: 0 },
    /** What went wrong with the last frame: { kind, message }. */
    problem: null,
    /** The words on the screen; `takenAt` is when the frame they are of was taken. */
    caption: { text: "", finished: true, takenAt: null },
    /** Of the last finished caption; `steady` while the scene has not changed since. */
    readout: { firstWordMs: null, wordsPerS: null, steady: false },
    /** This session's captions, oldest first: { id, text, prompt, clock, lastClock }. */
    history: [],
  };
}

/** What is asked about each frame, or null while the server has not told its presets. */
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
    if (state.wanted) return state;
    return openCamera(askSoon({ ...state, wanted: true, problem: null }, at), at);
  },

  stopped(state, { at }) {
    const camera = { ...state.camera, phase: "off", problem: null, since: at };
    const caption = wholeCaption(state);
    const next = { ...state, wanted: false, camera, caption, pass: null, problem: null };
    return { ...next, pace: freshPace(at) };
  },

  "setting-changed"(state, { name, value, at }) {
    const before = promptOf(state);
    const settings = lawfulSettings({ ...state.settings, [name]: value });
    const next = { ...state, settings };
    const isShown = state.camera.phase === "live" && value === state.camera.deviceId;
    if (name === "deviceId" && state.wanted && !isShown) return openCamera(next, at);
    if (name === "intervalS") {
      const lookAt = Math.min(state.pace.lookAt, at + settings.intervalS * 1000);
      return { ...next, pace: { ...state.pace, lookAt } };
    }
    return promptOf(next) === before ? next : lookAgain(next, at);
  },

  "panel-toggled"(state, { panel }) {
    return { ...state, panel: state.panel === panel ? null : panel };
  },

  "visibility-changed"(state, { visible, at }) {
    const next = { ...state, visible };
    return visible ? askSoon(next, at) : next;
  },

  /** A person pressed "Try again", or the network came back. */
  retried(state, { at }) {
    const next = askSoon({ ...state, pace: freshPace(at), problem: null }, at);
    return state.wanted && state.camera.phase === "failed" ? openCamera(next, at) : next;
  },

  // -- the camera --

  "camera-opened"(state, { request, deviceId, at }) {
    if (request !== state.camera.request || state.camera.phase !== "opening") return state;
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

  "camera-failed"(state, { request, problem, at }) {
    if (request !== state.camera.request || !state.wanted) return state;
    const camera = { ...state.camera, phase: "failed", problem, since: at };
    return { ...state, camera, pass: null };
  },

  "camera-muted"(state, { request, muted }) {
    if (request !== state.camera.request) return state;
    return { ...state, camera: { ...state.camera, muted } };
  },

  /** `changed` when a camera was plugged in or out or the permission was given meanwhile. */
  "devices-listed"(state, { devices, changed, at }) {
    const next = { ...state, camera: { ...state.camera, devices } };
    const waits = state.wanted && state.camera.phase === "failed";
    return changed && waits && devices.length > 0 ? openCamera(next, at) : next;
  },

  // -- a frame on its way --

  "look-begun"(state, { at }) {
    const id = state.lastPassId + 1;
    const prompt = promptOf(state);
    const kind = kindOf(state, prompt);
    const model = runningModel(state);
    const pass = { id, step: "looking", prompt, kind, takenAt: at, firstWordAt: null, model };
    return { ...state, pass, lastPassId: id };
  },

  /** The scene looks as it did when it was last captioned: nothing is sent. */
  "frame-unchanged"(state, { id, at }) {
    if (state.pass?.id !== id) return state;
    const lookAt = nextLookAfterGap(state, at);
    const readout = { ...state.readout, steady: true };
    return { ...state, pass: null, readout, pace: { ...state.pace, lookAt } };
  },

  "frame-sent"(state, { id }) {
    if (state.pass?.id !== id) return state;
    const pass = { ...state.pass, step: "sent" };
    return { ...state, pass, pace: { ...state.pace, sentAt: pass.takenAt } };
  },

  "words-arrived"(state, { id, text, at }) {
    if (state.pass?.id !== id) return state;
    const pass = { ...state.pass, step: "speaking", firstWordAt: state.pass.firstWordAt ?? at };
    const readout = {
      ...state.readout,
      firstWordMs: pass.firstWordAt - pass.takenAt,
      steady: false,
    };
    return { ...state, pass, readout, caption: { text, finished: false, takenAt: pass.takenAt } };
  },

  "caption-done"(state, { id, text, stats, at, clock }) {
    if (state.pass?.id !== id) return state;
    const { pass } = state;
    return {
      ...state,
      pass: null,
      answered: pass.prompt,
      problem: null,
      caption: { text, finished: true, takenAt: pass.takenAt },
      readout: {
        firstWordMs: (pass.firstWordAt ?? at) - pass.takenAt,
        wordsPerS: wordsPerS(text, stats),
        steady: false,
      },
      history: remember(state.history, { id, text, prompt: pass.prompt, clock, lastClock: clock }),
      pace: {
        ...state.pace,
        lookAt: Math.max(at, nextLook(state)),
        // Another model than the one it was sent to has not seen the scene.
        force: pass.model !== runningModel(state),
        failures: 0,
      },
    };
  },

  "pass-failed"(state, { id, kind, message, retryAfterS = 0, at, random }) {
    if (state.pass?.id !== id) return state;
    const next = { ...state, pass: null };
    const soon = askSoon(next, at);
    if (kind === "unreachable") return serverGone(next, message, at, random);
    if (kind === "loading") return { ...soon, server: { ...soon.server, phase: "loading" } };
    if (kind === "model_failed")
      return { ...soon, server: { ...soon.server, phase: "failed", message } };
    if (kind === "superseded") {
      // Another page goes by this one's name: two that hurried would chase each other.
      const lookAt = nextLookAfterGap(state, at);
      return { ...next, pace: { ...state.pace, lookAt, force: true } };
    }
    const asked = Math.min(retryAfterS, RETRY_AFTER_LIMIT_S) * 1000;
    const pace = {
      ...state.pace,
      lookAt: at + Math.max(asked, backoffMs(state.pace.failures, random)),
      force: true,
      failures: state.pace.failures + 1,
    };
    return { ...(kind === "silent" ? soon : next), problem: { kind, message }, pace };
  },

  "history-cleared"(state) {
    return { ...state, history: [] };
  },
};

/** A typed question is one until its first answer; then it is what each live frame is asked. */
function kindOf({ settings, answered }, prompt) {
  const isTyped = settings.asksOwn && settings.ownPrompt.trim() === prompt;
  return isTyped && answered !== prompt ? "question" : "live";
}

const runningModel = ({ server }) => server.status?.model ?? null;

/** Drops the frame under way and takes a new one at once. */
function lookAgain(state, at) {
  return { ...state, pass: null, problem: null, pace: freshPace(at) };
}

function openCamera(state, at) {
  const request = state.camera.request + 1;
  const camera = { ...state.camera, phase: "opening", request, problem: null, since: at };
  return { ...lookAgain(state, at), camera };
}

/** What is on the screen, or the last finished caption where that one was broken off. */
function wholeCaption({ caption, history }) {
  if (caption.finished) return caption;
  return { text: history.at(-1)?.text ?? "", finished: true, takenAt: null };
}

/** The rate in words; null where there were too few tokens to have one. */
function wordsPerS(text, { tokens, tokens_per_s: tokensPerS }) {
  if (!(tokens > 0 && tokensPerS > 0)) return null;
  return (text.split(/\s+/).filter(Boolean).length / tokens) * tokensPerS;
}

/** A caption that says the same as the one before it prolongs that one instead of being listed again. */
function remember(history, entry) {
  if (!entry.text.trim()) return history;
  const last = history.at(-1);
  const same = last && last.text === entry.text && last.prompt === entry.prompt;
  if (same) return [...history.slice(0, -1), { ...last, lastClock: entry.lastClock }];
  return [...history, entry].slice(-HISTORY_LIMIT);
}
