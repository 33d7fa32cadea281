// The frame in flight and the caption that comes of it. Pure, as state.js.

import { languageOf } from "./language.js";
import { cutOf, maxTokensOf } from "./length.js";
import { backoffMs, nextCapture, nextCaptureAfterGap, restartCapture } from "./pace.js";
import { askedOf, promptOf, readingOf } from "./prompt.js";
import { pollSoon, serverUnreachable, titleOf } from "./server.js";
import { withAnswer, withCaption, withTrouble, withUnchangedLook } from "./session.js";
import { NO_CAPTION } from "./shown.js";
import { sourceTitle } from "./source.js";
import { claimsOf } from "./sure.js";
import { detailPrompt } from "./voice.js";

const RETRY_AFTER_LIMIT_S = 60;
/** How long an answer in detail stays before the next live caption. */
const ANSWER_STAYS_MS = 12_000;
/** Failures after which details are asked for again. */
const ASKED_AGAIN = ["busy", "loading", "timeout", "unreachable"];

export const initialRequest = {
  /**
   * The frame in flight: { id, step, prompt, reading, kind, maxTokens, claims, inDetail, capturedAt, frameAt,
   * model }, or null. step: capturing | sent | answering. `capturedAt` is when the page began to look at the
   * camera, `frameAt` when the camera delivered the frame. `reading` is the setting if the prompt is
   * the preset that reads text, else null.
   */
  request: null,
  lastRequestId: 0,
  /** The prompt of the last finished caption since the start. */
  answeredPrompt: null,
  /** The next frame is asked once for all details. */
  inDetail: false,
  /** Why the last frame failed: { kind, message }. */
  problem: null,
  /** Whether the scene has not changed since the last finished caption. */
  steady: false,
  /** The model that could not check its captions, by its name, or null. */
  claimless: null,
};

export const requestHandlers = {
  "capture-started"(state, { at }) {
    const id = state.lastRequestId + 1;
    const { inDetail } = state;
    const prompt = inDetail ? detailPrompt(state) : promptOf(state);
    const request = {
      id,
      step: "capturing",
      prompt,
      reading: inDetail ? null : readingOf(state),
      kind: inDetail ? "question" : kindOf(state, prompt),
      maxTokens: maxTokensOf(state),
      claims: claimsOf(state),
      inDetail,
      capturedAt: at,
      frameAt: at,
      model: runningModel(state),
    };
    return { ...state, request, lastRequestId: id };
  },

  /** The scene looks as in the last captioned frame, so nothing is sent. */
  "frame-unchanged"(state, { id, seconds = null, at, clock }) {
    if (state.request?.id !== id) return state;
    const pace = { ...state.pace, captureAt: nextCaptureAfterGap(state, at) };
    const from = clock - (at - state.request.capturedAt);
    const session = withUnchangedLook(state.session, { id, from, seconds });
    const camera = { ...state.camera, isBlack: false };
    return { ...state, request: null, steady: true, pace, session, camera };
  },

  /**
   * `frameAt`: when the camera delivered the frame that was sent; `seconds`: its place in a video; `isSame`: it
   * shows the last scene.
   */
  "frame-sent"(state, event) {
    const { id, frameAt = state.request?.capturedAt, isFullRange = false, isSame = false } = event;
    if (state.request?.id !== id) return state;
    const request = { ...state.request, step: "sent", frameAt, seconds: event.seconds ?? null };
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
    const { frameAt, prompt, seconds } = request;
    const lang = languageOf({ ...request, ...state.settings });
    const begun = { id, text, finished: false, capturedAt: frameAt, seconds, lang, prompt };
    return { ...state, request, caption: { ...NO_CAPTION, ...begun } };
  },

  /** `end` is the caption's finish_reason. */
  "caption-done"(state, { id, text, end = "stop", stats, sure = null, at, clock }) {
    if (state.request?.id !== id) return state;
    const { prompt, reading, maxTokens, claims, inDetail, frameAt, model } = state.request;
    const { seconds = null } = state.request;
    const { by = "model", checks = [], chosen } = stats;
    const lang = languageOf({ by, model, ...state.settings });
    const isAnswer = inDetail || prompt !== state.answeredPrompt;
    const nextAt = nextCapture(state, chosen?.interval_s);
    const captureAt = inDetail ? at + ANSWER_STAYS_MS : Math.max(at, nextAt);
    const cut = cutOf(end, stats);
    const said = { id, text, lang, prompt, by, cut };
    const caption = {
      ...NO_CAPTION,
      ...said,
      isAnswer,
      isOnce: inDetail,
      capturedAt: frameAt,
      seconds,
      checks,
      stats,
      sure,
      sent: { prompt, reading, maxTokens, claims, turns: [] },
    };
    return {
      ...state,
      request: null,
      inDetail: false,
      answeredPrompt: inDetail ? state.answeredPrompt : prompt,
      problem: null,
      caption,
      session: (inDetail ? withAnswer : withCaption)(state.session, {
        ...{ ...said, kind: inDetail ? "answer" : "caption", thing: null },
        unsure: sure?.unsure === true,
        asked: askedOf(state, prompt),
        model: titleOf(state, model),
        source: sourceTitle(state),
        seconds,
        from: clock - (at - frameAt),
      }),
      pace: {
        ...state.pace,
        captureAt,
        // If the model has changed meanwhile, the new one has not seen the scene yet.
        force: inDetail || model !== runningModel(state),
        failures: 0,
      },
    };
  },

  "request-failed"(state, { id, kind, message, retryAfterS = 0, at, random }) {
    if (state.request?.id !== id) return state;
    const inDetail = state.inDetail && ASKED_AGAIN.includes(kind);
    const session = kind === "superseded" ? state.session : withTrouble(state.session);
    const next = { ...state, request: null, inDetail, session };
    const polled = pollSoon(next, at);
    if (kind === "unreachable") return serverUnreachable(next, message, at, random);
    if (kind === "loading") return { ...polled, server: { ...polled.server, phase: "loading" } };
    if (kind === "model_failed")
      return { ...polled, server: { ...polled.server, phase: "failed", message } };
    if (kind === "not_supported" && state.request.claims !== "off") {
      // Without the check the same frame can be captioned.
      return {
        ...next,
        claimless: state.request.model,
        pace: { ...state.pace, captureAt: at, force: true },
      };
    }
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

  /** The standing question was sent again as it is. */
  asked(state, { at }) {
    const isAnswered = state.started && state.answeredPrompt === promptOf(state);
    return isAnswered ? restartCapture({ ...state, answeredPrompt: null }, at) : state;
  },
};

/** A typed prompt is a "question" until its first answer; then it is the prompt of "live" frames. */
function kindOf({ settings, answeredPrompt }, prompt) {
  const isTyped = settings.asksOwn && settings.ownPrompt.trim() === prompt;
  return isTyped && answeredPrompt !== prompt ? "question" : "live";
}

const runningModel = ({ server }) => server.status?.model ?? null;
