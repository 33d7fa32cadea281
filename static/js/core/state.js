// The page's state and its one reducer: a state and an event in, the next state out. No DOM, clock or
// randomness: each event carries the time `at` (monotonic milliseconds) and, if needed, a `random`
// number (0..1). plan.js derives the work to do from the state, words/ the text to show.

import { boxesHandlers, initialBoxes, withoutOldBoxes } from "./boxes.js";
import { initialFind } from "./find.js";
import { languageOf } from "./language.js";
import {
  cameraHandlers,
  initialCamera,
  openCamera,
  retriedCamera,
  stoppedCamera,
} from "./camera.js";
import { choiceOf } from "./devices.js";
import { backoffMs, freshPace, nextCapture, nextCaptureAfterGap, restartCapture } from "./pace.js";
import { ANSWER_STAYS_MS, askedPart, partAfterFailure, partHandlers, partPrompt } from "./part.js";
import {
  lastMoment,
  sessionHandlers,
  withAnswer,
  withCaption,
  withInterruptions,
  withTrouble,
  withUnchangedLook,
} from "./session.js";
import { lastIdOf, sessionOf } from "./session-kept.js";
import {
  initialModels,
  initialServer,
  pollSoon,
  serverHandlers,
  serverUnreachable,
  titleOf,
} from "./server.js";
import { validSettings } from "./settings.js";
import { detailPrompt, initialVoice, voiceHandlers } from "./voice.js";

/** The id of the server's preset that reads text. */
const READ_PRESET = "read";
const RETRY_AFTER_LIMIT_S = 60;

/**
 * `secure`: the browser lets this page use a camera at all. `platform`: the operating system, as in
 * io/browser.js, or "" if unknown. `kept`: the session before a reload, as in session-kept.js.
 */
export function initialState(start) {
  const { settings, secure, visible, at, platform = "", kept = sessionOf(null) } = start;
  return {
    settings: validSettings(settings),
    secure,
    platform,
    visible,
    /** Captions were started and not stopped. */
    started: false,
    /** The open panel: "preferences", "history", "voice", or null. */
    panel: null,
    server: initialServer(at),
    models: initialModels,
    camera: initialCamera(at),
    /**
     * The frame in flight: { id, step, prompt, reading, kind, part, inDetail, capturedAt, frameAt, firstWordAt,
     * model }, or null. step: capturing | sent | answering. `capturedAt` is when the page began to look
     * at the camera, `frameAt` when the camera delivered the frame. `reading` is the setting if the prompt is the preset
     * that reads text, else null; `part` is the part of the picture that it is about, or null.
     */
    request: null,
    lastRequestId: lastIdOf(kept.session),
    /** The prompt of the last finished caption since the start. */
    answeredPrompt: null,
    /** When to capture next, when a frame was last sent, and whether the next is sent if unchanged. */
    pace: freshPace(at),
    /** Why the last frame failed: { kind, message }. */
    problem: null,
    /**
     * The question about a part of the picture, or null: { name, place, region, step }; step: asked |
     * answered. `place` is as on the screen.
     */
    part: null,
    /** The things in the picture, and the one that the person looks for. */
    boxes: initialBoxes(at),
    find: initialFind,
    /**
     * The caption on the screen; `capturedAt` is when its frame was captured, `lang` its language. Of a
     * finished one, `by` and `checks` are those of its statistics, `part` is what it is about, null for
     * all, `id` is that of its request, `isAnswer` tells the first caption of a prompt, and `isCut` one
     * that ends where it began to repeat itself. `isTorn` tells an unfinished one whose answer failed.
     */
    caption: {
      ...{ id: null, text: "", finished: true, isAnswer: false, capturedAt: null, lang: "" },
      ...{ by: "model", checks: [], part: null, isCut: false },
    },
    /** Figures of the last finished caption; `steady` while the scene has not changed since. */
    readout: { firstWordMs: null, wordsPerS: null, steady: false },
    /** This tab's moments and gaps; see session.js. */
    session: kept.session,
    /** Who says what is to be said, and what was said. */
    voice: initialVoice,
    /** The next frame is asked once for all details. */
    inDetail: false,
    /** Whether this tab's storage keeps the session for a reload. */
    keepsSession: true,
    /** Captions were running when the page was reloaded, and nobody has said since whether to go on. */
    wasRunning: kept.wasRunning,
  };
}

/** The prompt for the next frame, or null until the server has sent its presets. */
export function promptOf(state) {
  return ownPrompt(state) || (presetOf(state)?.prompt ?? null);
}

const ownPrompt = ({ settings }) => (settings.asksOwn ? settings.ownPrompt.trim() : "");

function presetOf({ settings, server }) {
  const presets = server.status?.presets ?? [];
  return presets.find(({ id }) => id === settings.preset) ?? presets[0];
}

/** Who reads text, if the next frame is asked for its text, else null. */
export function readingOf(state) {
  const reads = !ownPrompt(state) && presetOf(state)?.id === READ_PRESET;
  return reads ? state.settings.reading : null;
}

export function reduce(state, event) {
  return withInterruptions(withoutOldBoxes(handlers[event.type](state, event)), event);
}

const handlers = {
  ...serverHandlers,
  ...cameraHandlers,
  ...boxesHandlers,
  ...partHandlers,
  ...sessionHandlers,
  ...voiceHandlers,

  started(state, { at }) {
    if (state.started) return state;
    const next = {
      ...state,
      started: true,
      wasRunning: false,
      answeredPrompt: null,
      problem: null,
    };
    return openCamera(pollSoon(next, at), at);
  },

  stopped(state, { at }) {
    const camera = stoppedCamera(state.camera, at);
    const caption = lastFinishedCaption(state);
    const ended = { started: false, request: null, part: null, inDetail: false, problem: null };
    const next = { ...state, ...ended, camera, caption };
    return { ...next, pace: freshPace(at) };
  },

  "setting-changed"(state, { name, value, at }) {
    const question = (of) => `${readingOf(of)} ${promptOf(of)}`;
    const changes = name === "deviceId" ? choiceOf(state.camera.devices, value) : { [name]: value };
    const settings = validSettings({ ...state.settings, ...changes });
    const next = { ...state, settings };
    if (name === "deviceId") return withChosenCamera(next, at);
    if (name === "intervalS") {
      const captureAt = Math.min(state.pace.captureAt, at + settings.intervalS * 1000);
      return { ...next, pace: { ...state.pace, captureAt } };
    }
    return question(next) === question(state) ? next : restartCapture(next, at);
  },

  /** The question was sent again as it is. */
  asked(state, { at }) {
    const isAnswered = state.started && state.answeredPrompt === promptOf(state);
    return isAnswered ? restartCapture({ ...state, answeredPrompt: null }, at) : state;
  },

  "panel-toggled"(state, { panel }) {
    return { ...state, panel: state.panel === panel ? null : panel };
  },

  "visibility-changed"(state, { visible, at }) {
    const next = { ...state, visible };
    return visible ? pollSoon(next, at) : next;
  },

  /** "Try again" was pressed. */
  retried(state, { at }) {
    return retriedCamera(withoutWaiting(state, at), at);
  },

  "network-returned"(state, { at }) {
    return withoutWaiting(state, at);
  },

  // -- a frame and its request --

  "capture-started"(state, { at }) {
    const id = state.lastRequestId + 1;
    const part = askedPart(state);
    const inDetail = part === null && state.inDetail;
    const prompt = inDetail ? detailPrompt(state) : part ? partPrompt(state) : promptOf(state);
    const request = {
      id,
      step: "capturing",
      prompt,
      reading: part || inDetail ? null : readingOf(state),
      kind: part || inDetail ? "question" : kindOf(state, prompt),
      part,
      inDetail,
      capturedAt: at,
      frameAt: at,
      firstWordAt: null,
      model: runningModel(state),
    };
    return { ...state, request, part, lastRequestId: id };
  },

  /** The scene looks as in the last captioned frame, so nothing is sent. */
  "frame-unchanged"(state, { id, at, clock }) {
    if (state.request?.id !== id) return state;
    const readout = { ...state.readout, steady: true };
    const pace = { ...state.pace, captureAt: nextCaptureAfterGap(state, at) };
    const session = withUnchangedLook(state.session, id, clock - (at - state.request.capturedAt));
    const camera = { ...state.camera, isBlack: false };
    return { ...state, request: null, readout, pace, session, camera };
  },

  /** `frameAt`: when the camera delivered the frame that was sent. */
  "frame-sent"(state, { id, frameAt = state.request?.capturedAt, isFullRange = false }) {
    if (state.request?.id !== id) return state;
    const request = { ...state.request, step: "sent", frameAt };
    const camera = { ...state.camera, isBlack: false, isFullRange };
    return { ...state, request, camera, pace: { ...state.pace, sentAt: request.capturedAt } };
  },

  /** The next look showed another picture than the frame that was sent: a glitch, or still settling. */
  "frame-refuted"(state, { id, at }) {
    if (state.request?.id !== id) return state;
    return { ...state, request: null, pace: { ...state.pace, captureAt: at, force: true } };
  },

  "text-received"(state, { id, text, at }) {
    if (state.request?.id !== id) return state;
    const firstWordAt = state.request.firstWordAt ?? at;
    const request = { ...state.request, step: "answering", firstWordAt };
    const { frameAt, part } = request;
    const readout = { ...state.readout, firstWordMs: firstWordAt - frameAt, steady: false };
    const lang = languageOf({ ...request, ...state.settings });
    const caption = {
      ...{ id, text, finished: false, isAnswer: false, capturedAt: frameAt, lang },
      ...{ by: "model", checks: [], part, isCut: false },
    };
    return { ...state, request, readout, caption };
  },

  "caption-done"(state, { id, text, isCut = false, stats, at, clock }) {
    if (state.request?.id !== id) return state;
    const { prompt, part, inDetail, frameAt, firstWordAt, model } = state.request;
    const { by = "model", checks = [] } = stats;
    const lang = languageOf({ by, model, ...state.settings });
    const isOnce = part !== null || inDetail;
    const isAnswer = isOnce || prompt !== state.answeredPrompt;
    const captureAt = isOnce ? at + ANSWER_STAYS_MS : Math.max(at, nextCapture(state));
    return {
      ...state,
      request: null,
      part: part && { ...part, step: "answered" },
      inDetail: false,
      answeredPrompt: isOnce ? state.answeredPrompt : prompt,
      problem: null,
      caption: {
        ...{ id, text, finished: true, isAnswer, capturedAt: frameAt, lang },
        ...{ by, checks, part, isCut },
      },
      readout: {
        firstWordMs: (firstWordAt ?? at) - frameAt,
        wordsPerS: wordsPerS(text, stats),
        steady: false,
      },
      session: (isOnce ? withAnswer : withCaption)(state.session, {
        ...{ id, kind: isOnce ? "answer" : "caption", text, lang, prompt, by, part, isCut },
        asked: askedText(state, prompt),
        model: titleOf(state, model),
        source: sourceOf(state),
        from: clock - (at - frameAt),
      }),
      pace: {
        ...state.pace,
        captureAt,
        // If the model has changed meanwhile, the new one has not seen the scene yet.
        force: isOnce || model !== runningModel(state),
        failures: 0,
      },
    };
  },

  "request-failed"(state, { id, kind, message, retryAfterS = 0, at, random }) {
    if (state.request?.id !== id) return state;
    const part = partAfterFailure(state.part, kind);
    const inDetail = partAfterFailure(state.inDetail, kind) === true;
    const caption = state.caption.finished ? state.caption : { ...state.caption, isTorn: true };
    const session = kind === "superseded" ? state.session : withTrouble(state.session);
    const next = { ...state, request: null, part, inDetail, caption, session };
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
};

/** A typed prompt is a "question" until its first answer; then it is the prompt of "live" frames. */
function kindOf({ settings, answeredPrompt }, prompt) {
  const isTyped = settings.asksOwn && settings.ownPrompt.trim() === prompt;
  return isTyped && answeredPrompt !== prompt ? "question" : "live";
}

/** The question as a person reads it; "" for the server's first preset. */
function askedText({ server }, prompt) {
  const presets = server.status?.presets ?? [];
  const preset = presets.find((one) => one.prompt === prompt);
  if (!preset) return prompt;
  return preset === presets[0] ? "" : preset.label;
}

/** The label of the open camera, "" if the browser hides it. */
const sourceOf = ({ camera }) =>
  camera.devices.find(({ deviceId }) => deviceId === camera.deviceId)?.label ?? "";

const runningModel = ({ server }) => server.status?.model ?? null;

/** Try everything again at once that waits for its next attempt. */
const withoutWaiting = (state, at) =>
  pollSoon({ ...state, pace: freshPace(at), problem: null }, at);

function withChosenCamera(state, at) {
  const { started, camera, settings } = state;
  if (!started) return state;
  const isOpen = camera.phase === "live" && settings.deviceId === camera.deviceId;
  return isOpen ? { ...state, camera: { ...camera, isStandIn: false } } : openCamera(state, at);
}

/** The caption on the screen; if it is unfinished, the finished one before it. */
function lastFinishedCaption({ caption, session }) {
  if (caption.finished) return caption;
  const last = lastMoment(session) ?? {};
  const { id = null, text = "", lang = "", by = "model", part = null, isCut = false } = last;
  return {
    ...{ id, text, finished: true, isAnswer: false, capturedAt: null, lang },
    ...{ by, checks: [], part, isCut },
  };
}

/** The rate in words per second, or null if there were too few tokens to measure one. */
function wordsPerS(text, { tokens, tokens_per_s: tokensPerS }) {
  if (!(tokens > 0 && tokensPerS > 0)) return null;
  return (text.split(/\s+/).filter(Boolean).length / tokens) * tokensPerS;
}
