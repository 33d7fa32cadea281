// What the page says to people, and which way on it offers. Pure: a state in, words out.

import { cutOffWords, isCutOff, privacyText } from "./destination.js";
import { titleOf } from "../core/server.js";

const PATIENCE_MS = 700;

const CAMERA_PROBLEMS = {
  denied: {
    title: "The camera was refused",
    text: "Allow the camera for this page (the camera or lock symbol beside the address), then try again.",
  },
  missing: {
    title: "No camera found",
    text: "Plug one in or switch it on. Captions start by themselves when it is there.",
  },
  ended: {
    title: "The camera is gone",
    text: "It was unplugged or its permission was taken back. Captions go on when it is there again.",
  },
  taken: {
    title: "The camera cannot be opened",
    text: "Another program may be using it. Close that program, or choose another camera, then try again.",
  },
  silent: {
    title: "The camera sends no picture",
    text: "Check its shutter or switch, or choose another camera, then try again.",
  },
  unknown: {
    title: "The camera did not start",
    text: "Choose another camera, or unplug this one and plug it in again, then try again.",
  },
};

const FRAME_PROBLEMS = {
  busy: "The server is busy",
  silent: "The server is taking very long",
  refused: "The server did not take this frame",
  upstream: "The model’s server gave no caption",
  bad_answer: "That was not an answer of Sightline’s server",
  no_frame: "No picture could be taken",
};

const TRY_AGAIN = { action: "retry", label: "Try again" };
const TRY_NOW = { action: "retry", label: "Try now" };
const CHOOSE_MODEL = { action: "models", label: "Choose a model" };

/**
 * The one thing a person should know now, or null.
 *
 * { id, tone: "wait" | "problem", title, text, until, actions }: `until` is the time of the next try
 * by itself (or null), each action is { action, label }, `action` one of "retry", "localhost" and
 * "models".
 */
export function noticeOf(state, at) {
  return placeNotice(state) ?? cameraNotice(state, at) ?? serverNotice(state) ?? frameNotice(state);
}

function placeNotice({ secure }) {
  if (secure) return null;
  return {
    id: "insecure",
    tone: "problem",
    title: "This address may not use a camera",
    text:
      "Browsers lend the camera only to secure pages. On the computer that runs Sightline, open it as " +
      "localhost; from another device, put HTTPS in front of it.",
    until: null,
    actions: [{ action: "localhost", label: "Open as localhost" }],
  };
}

function cameraNotice({ camera, wanted }, at) {
  if (!wanted) return null;
  if (camera.phase === "failed") {
    const { title, text } = CAMERA_PROBLEMS[camera.problem] ?? CAMERA_PROBLEMS.unknown;
    return {
      id: `camera-${camera.problem}`,
      tone: "problem",
      title,
      text,
      until: null,
      actions: [TRY_AGAIN],
    };
  }
  if (camera.phase === "opening" && at - camera.since > PATIENCE_MS) {
    return {
      id: "camera-opening",
      tone: "wait",
      title: "Waiting for the camera",
      text: "If the browser asks, allow it to use the camera.",
      until: null,
      actions: [],
    };
  }
  return null;
}

function serverNotice(state) {
  const { server, wanted } = state;
  if (server.phase === "gone") {
    return {
      id: "server-gone",
      tone: "problem",
      title: "Sightline’s server does not answer",
      text: "If it was stopped, start it again. This page reconnects by itself.",
      until: server.askAt,
      actions: [TRY_NOW],
    };
  }
  if (server.phase === "failed") {
    const text = server.message || "The terminal that runs Sightline says why.";
    return {
      id: "model-failed",
      tone: "problem",
      title: "The model could not be loaded",
      text,
      until: null,
      actions: server.status?.models?.choices.length > 0 ? [TRY_NOW, CHOOSE_MODEL] : [TRY_NOW],
    };
  }
  if (server.phase === "loading" && wanted) {
    return {
      id: "model-loading",
      tone: "wait",
      title: server.status?.remote
        ? "The model’s server does not answer yet"
        : "The model is loading",
      text: `${progressOf(server)}Captions begin by themselves when it is ready.`,
      until: null,
      actions: [],
    };
  }
  if (isCutOff(state)) {
    return {
      id: "upstreams-down",
      tone: "problem",
      title: "The model’s server does not answer",
      text: `${cutOffWords(state)} Captions go on by themselves when that changes.`,
      until: null,
      actions: [TRY_NOW],
    };
  }
  return null;
}

function progressOf({ status }) {
  return status?.progress ? `${status.progress}. ` : "";
}

function frameNotice({ problem, pace, wanted, camera }) {
  if (!wanted) return null;
  // These two pass by themselves most of the time; a card that flashes up would only disturb.
  const isPassing = ["busy", "no_frame"].includes(problem?.kind) && pace.failures < 2;
  if (problem && !isPassing) {
    return {
      id: `frame-${problem.kind}`,
      tone: "problem",
      title: FRAME_PROBLEMS[problem.kind] ?? "A frame was lost",
      text: problem.message,
      until: pace.lookAt,
      actions: [TRY_NOW],
    };
  }
  if (camera.muted && camera.phase === "live") {
    const { title, text } = CAMERA_PROBLEMS.silent;
    return { id: "camera-silent", tone: "problem", title, text, until: null, actions: [TRY_AGAIN] };
  }
  return null;
}

/** The server in a few words, and the colour of its lamp: { tone: "good" | "wait" | "problem", text }. */
export function serverLine(state) {
  const { phase, status } = state.server;
  const model = titleOf(state, status?.model);
  if (isCutOff(state)) return { tone: "problem", text: "No answer from the model’s server" };
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
 * The readout's parts, each { label, value } with the value in words; empty while there is nothing to
 * tell. The age is of the frame that the words on the screen are of.
 */
export function readoutOf({ caption, readout, server, wanted }, at) {
  if (!caption.text || !wanted) return [];
  const parts = [];
  if (readout.firstWordMs !== null) {
    parts.push({ label: "First word", value: seconds(readout.firstWordMs, 2) });
  }
  if (readout.wordsPerS !== null) {
    parts.push({ label: "Words/s", value: readout.wordsPerS.toFixed(0) });
  }
  if (caption.takenAt !== null) {
    const age = seconds(at - caption.takenAt, 0);
    parts.push({
      label: "Frame age",
      value: readout.steady && server.phase === "ready" ? `${age}, unchanged` : age,
    });
  }
  return parts;
}

function seconds(ms, digits) {
  return `${(Math.max(0, ms) / 1000).toFixed(digits)} s`;
}

/** Whole seconds until `until`, at least 1 while it lies ahead; null without one. */
export function countdownS(until, at) {
  if (until === null) return null;
  return Math.max(0, Math.ceil((until - at) / 1000));
}

/** The captions as plain text, one a line with its time, for the clipboard. */
export function historyText(history) {
  return history.map(({ text, clock }) => `${clockTime(clock)}  ${text.trim()}`).join("\n");
}

/** Local wall-clock time as HH:MM:SS; `clock` is milliseconds since 1970. */
export function clockTime(clock) {
  const date = new Date(clock);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/**
 * What the empty stage says: { lead, privacy, loading }, `loading` "" once the model is there. `host`
 * is the name this page was opened under.
 */
export function welcomeOf({ history, server }, host) {
  const { phase, status } = server;
  const waits = status?.remote
    ? progressOf(server) || "The model’s server does not answer yet. "
    : "The model is still loading. ";
  return {
    lead:
      history.length > 0
        ? "Captions are stopped and the camera is off."
        : "Point a camera at something and read what it shows.",
    loading: phase === "loading" ? `${waits}You can start the camera now.` : "",
    privacy: privacyText(status, host),
  };
}
