// The page's state and its one reducer: a state and an event in, the next state out. No DOM, clock or
// randomness: each event carries the time `at` (monotonic milliseconds) and, if needed, a `random`
// number (0..1). plan.js derives the work to do from the state, words/ the text to show.

import { boxesHandlers, initialBoxes, withoutOldBoxes } from "./boxes.js";
import { initialFind } from "./find.js";
import { hiddenHandlers, initialHidden } from "./hidden.js";
import { languageOf } from "./language.js";
import { maxTokensOf } from "./length.js";
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
import { promptOf, readingOf } from "./prompt.js";
import { pressedStart } from "./running.js";
import {
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
import { withWhole } from "./shown.js";
import { initialThread, threadHandlers, withTurn } from "./thread.js";
import { freezing, initialView, viewHandlers } from "./view.js";
import { detailPrompt, initialVoice, voiceHandlers } from "./voice.js";

const RETRY_AFTER_LIMIT_S = 60;
const NO_CAPTION = {
  ...{
    id: null,
    text: "",
    finished: true,
    isAnswer: false,
    capturedAt: null,
    lang: "",
    prompt: "",
  },
  ...{ by: "model", checks: [], part: null, isCut: false, cutAt: null },
};

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
    /** Captions were started and not stopped, and when. */
    started: false,
    startedAt: -Infinity,
    /** When they were last stopped, in milliseconds since 1970, or null. */
    stoppedClock: null,
    /** The open panel: "preferences", "history", "ask", "voice", or null. */
    panel: null,
    /** What is in view, and the stills, oldest first; see view.js and thread.js. */
    view: initialView,
    stills: [],
    ...initialThread,
    ...initialHidden,
    server: initialServer(at),
    models: initialModels,
    camera: initialCamera(at),
    /**
     * The frame in flight: { id, step, prompt, reading, kind, maxTokens, part, inDetail, capturedAt, frameAt,
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
     * The newest caption; `capturedAt` is when its frame was captured, `lang` its language, `prompt` what
     * was asked. Of a finished one, `by` and `checks` are those of its statistics, `part` is what it is
     * about, null for all, `id` is that of its request, `isAnswer` tells the first caption of a prompt,
     * `isCut` one that ends where it began to repeat itself, and `cutAt` is the number of tokens of one
     * that ends at the limit, else null. `whole` is the last finished one; shown.js tells which is shown.
     */
    caption: NO_CAPTION,
    whole: NO_CAPTION,
    /** Whether the scene has not changed since the last finished caption. */
    steady: false,
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

export function reduce(state, event) {
  const next = withWhole(state, withoutOldBoxes(handlers[event.type](state, event)));
  return withInterruptions(next, event);
}

const handlers = {
  ...serverHandlers,
  ...cameraHandlers,
  ...boxesHandlers,
  ...partHandlers,
  ...sessionHandlers,
  ...voiceHandlers,
  ...viewHandlers,
  ...hiddenHandlers,
  ...threadHandlers,

  /** The button that starts and stops was pressed. */
  "start-pressed"(state, event) {
    const meant = pressedStart(state, event.at);
    return meant ? reduce(state, { ...event, ...meant }) : state;
  },

  started(state, { at }) {
    if (state.started) return state;
    const begun = { started: true, startedAt: at, wasRunning: false };
    const next = { ...state, ...begun, answeredPrompt: null, problem: null };
    return openCamera(pollSoon(next, at), at);
  },

  /**
   * A question, { prompt, reading, detail, about } with only the first needed, is asked about the still in
   * view, or else about the next frame, which becomes one.
   */
  "question-asked"(state, event) {
    const { stillId } = state.view;
    const next = { ...state, panel: "ask" };
    if (stillId !== null) return withTurn(next, stillId, event.question);
    return freezing(handlers.started(next, event), event.question);
  },

  stopped(state, { at, clock }) {
    const camera = stoppedCamera(state.camera, at);
    const stoppedClock = state.started ? clock : state.stoppedClock;
    const ended = { started: false, stoppedClock, request: null, part: null };
    const next = { ...state, ...ended, inDetail: false, problem: null, camera };
    return { ...next, pace: freshPace(at) };
  },

  "setting-changed"(state, { name, value, at }) {
    const question = (of) => `${readingOf(of)} ${maxTokensOf(of)} ${promptOf(of)}`;
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

  /** Another tab of this page has changed settings. */
  "settings-merged"(state, { changes }) {
    return { ...state, settings: validSettings({ ...state.settings, ...changes }) };
  },

  /** The question was sent again as it is. */
  asked(state, { at }) {
    const isAnswered = state.started && state.answeredPrompt === promptOf(state);
    return isAnswered ? restartCapture({ ...state, answeredPrompt: null }, at) : state;
  },

  "panel-toggled"(state, { panel }) {
    return { ...state, panel: state.panel === panel ? null : panel };
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
      maxTokens: maxTokensOf(state),
      part,
      inDetail,
      capturedAt: at,
      frameAt: at,
      model: runningModel(state),
    };
    return { ...state, request, part, lastRequestId: id };
  },

  /** The scene looks as in the last captioned frame, so nothing is sent. */
  "frame-unchanged"(state, { id, at, clock }) {
    if (state.request?.id !== id) return state;
    const pace = { ...state.pace, captureAt: nextCaptureAfterGap(state, at) };
    const session = withUnchangedLook(state.session, id, clock - (at - state.request.capturedAt));
    const camera = { ...state.camera, isBlack: false };
    return { ...state, request: null, steady: true, pace, session, camera };
  },

  /** `frameAt`: when the camera delivered the frame that was sent; `isSame`: it shows the last scene. */
  "frame-sent"(state, event) {
    const { id, frameAt = state.request?.capturedAt, isFullRange = false, isSame = false } = event;
    if (state.request?.id !== id) return state;
    const request = { ...state.request, step: "sent", frameAt };
    const camera = { ...state.camera, isBlack: false, isFullRange };
    const pace = { ...state.pace, sentAt: request.capturedAt };
    return { ...state, request, camera, steady: state.steady && isSame, pace };
  },

  /** The next look showed another picture than the frame that was sent: a glitch, or still settling. */
  "frame-refuted"(state, { id, at }) {
    if (state.request?.id !== id) return state;
    return { ...state, request: null, pace: { ...state.pace, captureAt: at, force: true } };
  },

  "text-received"(state, { id, text }) {
    if (state.request?.id !== id) return state;
    const request = { ...state.request, step: "answering" };
    const { frameAt, part, prompt } = request;
    const lang = languageOf({ ...request, ...state.settings });
    const begun = { id, text, finished: false, capturedAt: frameAt, lang, prompt, part };
    const caption = { ...NO_CAPTION, ...begun };
    return { ...state, request, caption };
  },

  "caption-done"(state, { id, text, isCut = false, isLong = false, stats, at, clock }) {
    if (state.request?.id !== id) return state;
    const { prompt, part, inDetail, frameAt, model } = state.request;
    const { by = "model", checks = [], chosen } = stats;
    const lang = languageOf({ by, model, ...state.settings });
    const isOnce = part !== null || inDetail;
    const isAnswer = isOnce || prompt !== state.answeredPrompt;
    const nextAt = nextCapture(state, chosen?.interval_s);
    const captureAt = isOnce ? at + ANSWER_STAYS_MS : Math.max(at, nextAt);
    return {
      ...state,
      request: null,
      part: part && { ...part, step: "answered" },
      inDetail: false,
      answeredPrompt: isOnce ? state.answeredPrompt : prompt,
      problem: null,
      caption: {
        ...{ id, text, finished: true, isAnswer, capturedAt: frameAt, lang, prompt },
        ...{ by, checks, part, isCut, cutAt: isLong ? (stats.tokens ?? null) : null },
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
    const session = kind === "superseded" ? state.session : withTrouble(state.session);
    const next = { ...state, request: null, part, inDetail, session };
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
