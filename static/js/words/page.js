// The texts of the page: notices with their actions, server summary, chip. Pure: a state
// in, text out.

import { cameraNotice, insecureNotice } from "./camera.js";
import { allUpstreamsDown, privacyText, upstreamProblems } from "./destination.js";
import { lostText } from "./other-sources.js";
import { liveText, placeText, sourceNotice } from "./source.js";
import { showsSomething } from "../core/camera.js";
import { questionText } from "../core/prompt.js";
import { mayChangeModels, titleOf } from "../core/server.js";
import { shownCaption } from "../core/shown.js";
import { isVideo } from "../core/source.js";
import { isStillGone, stillOf } from "../core/view.js";
import { clockTime } from "./session.js";

/** How long another server may be silent before a notice says so. */
const SILENCE_NOTICE_MS = 3000;
/** Words of a frame older than this say so. */
const OLD_WORDS_MS = 3000;
/** Words this old turn grey while the next ones are awaited. */
const GREY_WORDS_MS = 5000;

const FRAME_PROBLEMS = {
  busy: "The server is busy",
  timeout: "The server takes too long to answer",
  refused: "The server rejected this frame",
  upstream: "The model’s server sent no caption",
  bad_answer: "The response is not from Sightline’s server",
  no_frame: "No frame could be captured",
  falsified: "This browser falsifies the picture",
};

/** The texts of problems that have another one than the server's message. */
const FRAME_TEXTS = {
  falsified:
    "Against tracking, it gives noise to a page that reads a picture, so nothing is captioned. Let this page " +
    "read canvas data (the picture icon next to the address), or name its host in Firefox’s about:config " +
    "under privacy.resistFingerprinting.exemptedDomains, or use another browser.",
};

const TRY_NOW = { action: "retry", label: "Try now" };
const CHOOSE_MODEL = { action: "models", label: "Choose a model" };

/**
 * The most important notice, or null.
 *
 * { id, tone: "wait" | "problem", title, text, until, actions }: `until` is the time of the next
 * automatic retry (or null), each action is { action, label, isQuiet }, `action` one of "retry", "localhost",
 * "models", "session", "start", "not-continued", "use" (with the id of a camera as `value`), "file", "screen", "sample",
 * "camera", "camera-start" and "close".
 */
export function noticeOf(state, at) {
  return (
    sourceNotice(state, at) ??
    insecureNotice(state) ??
    cameraNotice(state, at) ??
    serverNotice(state) ??
    frameNotice(state) ??
    silenceNotice(state, at) ??
    goneNotice(state, at) ??
    reloadNotice(state)
  );
}

function serverNotice(state) {
  const { server, started } = state;
  if (server.phase === "gone") {
    return {
      id: "server-gone",
      tone: "problem",
      title: "Sightline’s server does not answer",
      text: "If it was stopped, start it again. This page reconnects automatically.",
      until: server.pollAt,
      actions: [TRY_NOW],
    };
  }
  if (server.phase === "failed") {
    const text = server.message || "See the terminal that runs Sightline for the reason.";
    return {
      id: "model-failed",
      tone: "problem",
      title: "The model could not be loaded",
      text,
      until: null,
      actions:
        server.status?.models?.choices.length > 0 && mayChangeModels(state)
          ? [TRY_NOW, CHOOSE_MODEL]
          : [TRY_NOW],
    };
  }
  if (server.phase === "loading" && started) {
    return {
      id: "model-loading",
      tone: "wait",
      title: server.status?.remote
        ? "The model’s server does not answer yet"
        : "The model is loading",
      text: `${progressOf(server)}Captions start automatically when it is ready.`,
      until: null,
      actions: [],
    };
  }
  if (allUpstreamsDown(state)) {
    return {
      id: "upstreams-down",
      tone: "problem",
      title: "The model’s server does not answer",
      text: `${upstreamProblems(state)} Captions continue automatically when that changes.`,
      until: null,
      actions: [TRY_NOW],
    };
  }
  return null;
}

function progressOf({ status }) {
  return status?.progress ? `${status.progress}. ` : "";
}

function frameNotice({ problem, pace, started }) {
  if (!started) return null;
  // A single failure of these kinds is usually over with the next frame and needs no notice.
  const isTransient = ["busy", "no_frame"].includes(problem?.kind) && pace.failures < 2;
  if (problem && !isTransient) {
    return {
      id: `frame-${problem.kind}`,
      tone: "problem",
      title: FRAME_PROBLEMS[problem.kind] ?? "A frame was lost",
      text: FRAME_TEXTS[problem.kind] ?? problem.message,
      until: pace.captureAt,
      actions: [TRY_NOW],
    };
  }
  return null;
}

/** The model runs on another server, which has sent no word of the caption yet. */
function silenceNotice({ request, server }, at) {
  const isSilent = server.status?.remote && request?.step === "sent";
  if (!isSilent || at - request.capturedAt < SILENCE_NOTICE_MS) return null;
  return {
    id: "upstream-silent",
    tone: "wait",
    title: "The model’s server is thinking, or loading its model",
    text: "The caption appears when it answers.",
    until: null,
    actions: [],
  };
}

function goneNotice(state, at) {
  if (!isStillGone(state, at)) return null;
  return {
    id: "still-gone",
    tone: "wait",
    title: "That frozen picture is no longer here",
    text: "This tab keeps the newest 20, until it is loaded again. The answers about it are in the timeline.",
    until: null,
    actions: [{ action: "session", label: "Open the timeline" }],
  };
}

function reloadNotice(state) {
  const { wasRunning, started, lostSource } = state;
  if (!wasRunning || started || stillOf(state)) return null;
  const lost = lostSource && lostText(lostSource);
  return {
    id: "was-running",
    tone: "wait",
    title: "Captions were running. Go on?",
    text: lost?.text ?? "The page was loaded again. What was said before is kept.",
    until: null,
    actions: [
      lost?.action ?? { action: "start", label: "Go on" },
      ...(lost ? [{ action: "camera-start", label: "Use the camera", isQuiet: true }] : []),
      { action: "not-continued", label: "Not now", isQuiet: lost !== null },
    ],
  };
}

/** The server's state for the badge: { tone: "good" | "wait" | "problem", text }. */
export function serverSummary(state) {
  const { phase, status } = state.server;
  const model = titleOf(state, status?.model);
  if (allUpstreamsDown(state))
    return { tone: "problem", text: "No answer from the model’s server" };
  if (status?.remote && phase === "ready") return { tone: "good", text: model };
  if (status?.remote && phase === "loading") {
    return { tone: "wait", text: "Waiting for the model’s server" };
  }
  if (phase === "ready") return { tone: "good", text: `${model} on ${deviceName(status.device)}` };
  if (phase === "loading") return { tone: "wait", text: `Loading ${model}` };
  if (phase === "failed") return { tone: "problem", text: "Model failed" };
  if (phase === "gone") return { tone: "problem", text: "Not connected" };
  return { tone: "wait", text: "Connecting" };
}

function deviceName(device) {
  const name = String(device ?? "");
  return name === "cpu" || name.startsWith("cuda") || name === "mps" ? name.toUpperCase() : name;
}

/** What the caption on the screen answers, as a person reads it. */
export const askedText = (state) => questionText(state, shownCaption(state).prompt);

/** Whether the words on the screen may be true no more: nothing shows that they are. */
export function areOldWords(state, at) {
  const { capturedAt } = shownCaption(state);
  if (stillOf(state)) return false;
  if (!state.started || state.server.phase !== "ready" || cameraNotice(state, at)) return true;
  // Of another place of the video than the one that is shown.
  if (isVideo(state) && state.playback.isPaused && state.pace.force) return true;
  const isAwaited = state.request !== null && !state.steady && capturedAt !== null;
  return isAwaited && at - capturedAt > GREY_WORDS_MS + state.settings.intervalS * 1000;
}

/**
 * The chip over the picture, { isLive, tone: "good" | "wait", text, time }, or null if there is none.
 * `time` is how old the words are, if that is much and something may have changed since, or when captions
 * were stopped; else "". It is apart from the text so that no translator works on it each second.
 */
export function chipOf(state, at) {
  const { camera, source, steady, stoppedClock, server, started, settings } = state;
  const still = stillOf(state);
  if (still) return stillChip(still);
  if (!started && stoppedClock !== null) {
    const time = clockTime(stoppedClock);
    const text = source.kind === "camera" ? "Stopped, the camera is off" : "Stopped";
    return { isLive: false, tone: "good", text, time };
  }
  if (!started || camera.phase !== "live") return null;
  if (server.phase !== "ready") {
    return { isLive: false, tone: "wait", text: "Live picture, no captions", time: "" };
  }
  const levels = camera.isFullRange ? ", full range levels" : "";
  if (isVideo(state)) {
    const { seconds } = shownCaption(state);
    const time = seconds === null ? "" : `words of ${placeText(seconds)}`;
    return { isLive: !state.playback.isPaused, tone: "good", text: liveText(state), time };
  }
  if (steady && showsSomething(camera)) {
    return { isLive: true, tone: "good", text: `${liveText(state)}, unchanged${levels}`, time: "" };
  }
  const { text, capturedAt } = shownCaption(state);
  const ageMs = text && capturedAt !== null ? at - capturedAt : 0;
  const isOld = ageMs > OLD_WORDS_MS + settings.intervalS * 1000;
  const time = isOld ? seconds(ageMs) : "";
  return { isLive: true, tone: isOld ? "wait" : "good", text: `${liveText(state)}${levels}`, time };
}

function stillChip({ isFile, source, seconds, clock }) {
  const time = seconds === null ? clockTime(clock) : `at ${placeText(seconds)}`;
  return isFile
    ? { isLive: false, tone: "good", text: source, time: "" }
    : { isLive: false, tone: "good", text: "Frozen", time };
}

const seconds = (ms) => `${Math.round(Math.max(0, ms) / 1000)} s`;

/** Whole seconds until `until`, rounded up, 0 if it has passed; null if `until` is null. */
export function countdownS(until, at) {
  if (until === null) return null;
  return Math.max(0, Math.ceil((until - at) / 1000));
}

/**
 * The texts of the empty stage: { lead, privacy, loading }; `loading` is "" once the model is loaded.
 * `host` is the host name in this page's address.
 */
export function welcomeOf({ server }, host) {
  const { phase, status } = server;
  const reason = status?.remote
    ? progressOf(server) || "The model’s server does not answer yet. "
    : "The model is still loading. ";
  return {
    lead: "Point a camera at something and read what it shows.",
    loading: phase === "loading" ? `${reason}You can start the camera now.` : "",
    privacy: privacyText(status, host),
  };
}
