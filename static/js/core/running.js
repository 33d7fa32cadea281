// Start, stop and "try again". Pure, as state.js.

import { openCamera, retriedCamera, stoppedCamera } from "./camera.js";
import { backToLive } from "./live.js";
import { freshPace } from "./pace.js";
import { pollSoon } from "./server.js";
import { mayOpen } from "./source.js";

/** A second press sooner after a start is a slip of the finger. */
const SECOND_PRESS_MS = 400;

export const initialRunning = {
  /** Captions were started and not stopped, and when. */
  started: false,
  startedAt: -Infinity,
  /** When they were last stopped, in milliseconds since 1970, or null. */
  stoppedClock: null,
};

/** Whether captions run or are about to: what the button then does is to stop them. */
export function isRunning(state) {
  const { started, camera, server } = state;
  const isBroken = camera.phase === "failed" && camera.retryAt === null;
  return started && mayOpen(state) && !isBroken && server.phase !== "failed";
}

/** `state` with captions started. */
export function start(state, at) {
  if (state.started) return state;
  const begun = { started: true, startedAt: at, wasRunning: false };
  const next = { ...state, ...begun, answeredPrompt: null, problem: null };
  return openCamera(pollSoon(next, at), at);
}

function stop(state, { at, clock }) {
  const camera = stoppedCamera(state.camera, at);
  const stoppedClock = state.started ? clock : state.stoppedClock;
  const ended = { started: false, stoppedClock, request: null, inDetail: false, problem: null };
  return { ...state, ...ended, camera, pace: freshPace(at) };
}

/** Try everything again at once that waits for its next attempt. */
const withoutWaiting = (state, at) =>
  pollSoon({ ...state, pace: freshPace(at), problem: null }, at);

const retry = (state, at) => retriedCamera(withoutWaiting(state, at), at);

export const runningHandlers = {
  started: (state, { at }) => start(state, at),

  stopped: (state, event) => stop(state, event),

  /** "Try again" was pressed. */
  retried: (state, { at }) => retry(state, at),

  "network-returned": (state, { at }) => withoutWaiting(state, at),

  /** The button that starts and stops was pressed. */
  "start-pressed"(state, event) {
    const { at } = event;
    if (!state.started)
      return start(state.view.stillId === null ? state : backToLive(state, at), at);
    if (!isRunning(state)) return retry(state, at);
    return at - state.startedAt < SECOND_PRESS_MS ? state : stop(state, event);
  },
};
