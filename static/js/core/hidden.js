// A hidden page: it goes on if the person wants that, else its camera is off after a while. Pure, as
// state.js.

import { openCamera, stoppedCamera } from "./camera.js";
import { pollSoon } from "./server.js";

/** A page that is hidden for less keeps its camera, so that a look at another tab costs nothing. */
const CAMERA_STAYS_MS = 30_000;

export const initialHidden = {
  /** When the page was hidden, or null. */
  hiddenAt: null,
  /** The camera was switched off because the page is hidden. */
  isAsleep: false,
};

/** Whether the page works: it is seen, or may go on in the background. */
export const isAwake = ({ visible, settings }) => visible || settings.background;

/** When to switch the camera off, or null. */
export function sleepAt(state) {
  // A shared window would have to be chosen again, and is often what hides the page.
  const isOn =
    state.started &&
    state.source.kind === "camera" &&
    ["opening", "live"].includes(state.camera.phase);
  return isOn && !isAwake(state) && state.hiddenAt !== null
    ? state.hiddenAt + CAMERA_STAYS_MS
    : null;
}

export const hiddenHandlers = {
  "visibility-changed"(state, { visible, at }) {
    const hiddenAt = visible ? null : (state.hiddenAt ?? at);
    const next = { ...state, visible, hiddenAt };
    if (!visible) return next;
    const polled = pollSoon({ ...next, isAsleep: false }, at);
    return state.isAsleep && state.started ? openCamera(polled, at) : polled;
  },

  /** The page was hidden for long. */
  "sleep-due"(state, { at }) {
    if (sleepAt(state) === null) return state;
    return { ...state, request: null, isAsleep: true, camera: stoppedCamera(state.camera, at) };
  },
};
