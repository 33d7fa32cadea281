// The texts of the page: notices with their actions, server summary, readout. Pure: a state
// in, text out.

import { cameraNotice, insecureNotice } from "./camera.js";
import { allUpstreamsDown, privacyText, upstreamProblems } from "./destination.js";
import { showsSomething } from "../core/camera.js";
import { mayChangeModels, titleOf } from "../core/server.js";

/** How long another server may be silent before a notice says so. */
const SILENCE_NOTICE_MS = 3000;

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
 * automatic retry (or null), each action is { action, label }, `action` one of "retry", "localhost",
 * "models", "start", "not-continued" and "use" (with the id of a camera as `value`).
 */
export function noticeOf(state, at) {
  return (
    insecureNotice(state) ??
    cameraNotice(state, at) ??
    serverNotice(state) ??
    frameNotice(state) ??
    silenceNotice(state, at) ??
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

function reloadNotice({ wasRunning, started }) {
  if (!wasRunning || started) return null;
  return {
    id: "was-running",
    tone: "wait",
    title: "Captions were running. Go on?",
    text: "The page was loaded again. What was said before is kept.",
    until: null,
    actions: [
      { action: "start", label: "Go on" },
      { action: "not-continued", label: "Not now" },
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

/**
 * The readout's parts, each { label, value }, both text; empty without a caption. The frame age is that
 * of the frame of the caption on the screen.
 */
export function readoutOf({ camera, caption, readout, server, started }, at) {
  if (!caption.text || !started) return [];
  const parts = [];
  if (readout.firstWordMs !== null) {
    parts.push({ label: "First word", value: seconds(readout.firstWordMs, 2) });
  }
  if (readout.wordsPerS !== null) {
    parts.push({ label: "Words/s", value: readout.wordsPerS.toFixed(0) });
  }
  if (caption.capturedAt !== null) {
    const age = seconds(at - caption.capturedAt, 0);
    const isWatched = server.phase === "ready" && showsSomething(camera);
    parts.push({
      label: "Frame age",
      value: readout.steady && isWatched ? `${age}, unchanged` : age,
    });
  }
  if (camera.isFullRange) parts.push({ label: "Levels", value: "full range" });
  return parts;
}

function seconds(ms, digits) {
  return `${(Math.max(0, ms) / 1000).toFixed(digits)} s`;
}

/** Whole seconds until `until`, rounded up, 0 if it has passed; null if `until` is null. */
export function countdownS(until, at) {
  if (until === null) return null;
  return Math.max(0, Math.ceil((until - at) / 1000));
}

/**
 * The texts of the empty stage: { lead, privacy, loading }; `loading` is "" once the model is loaded.
 * `host` is the host name in this page's address.
 */
export function welcomeOf({ session, server }, host) {
  const { phase, status } = server;
  const reason = status?.remote
    ? progressOf(server) || "The model’s server does not answer yet. "
    : "The model is still loading. ";
  return {
    lead:
      session.entries.length > 0
        ? "Captions are stopped and the camera is off."
        : "Point a camera at something and read what it shows.",
    loading: phase === "loading" ? `${reason}You can start the camera now.` : "",
    privacy: privacyText(status, host),
  };
}
