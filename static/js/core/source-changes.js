// Changing what is looked at, and what cannot be shown. Pure, as state.js.

import { openCamera } from "./camera.js";
import { choiceOf } from "./devices.js";
import { backToLive } from "./live.js";
import { start } from "./running.js";
import { validSettings } from "./settings.js";
import { NO_CAPTION } from "./shown.js";
import { CAMERA, initialPlayback } from "./source.js";
import { isFrozen } from "./view.js";

/** `state` with another source, without the words about the one before. */
function changed(state, source, at) {
  const live = isFrozen(state) ? backToLive(state, at) : state;
  const silent = { caption: NO_CAPTION, whole: NO_CAPTION, steady: false };
  const panel = live.panel === "source" ? null : live.panel;
  return { ...live, ...silent, source, playback: initialPlayback, refusal: null, panel };
}

export const sourceHandlers = {
  /** A window, a video or the sample is ready to be shown: it is looked at from now on. */
  "source-chosen"(state, { source, at }) {
    const next = changed(state, source, at);
    return next.started ? openCamera(next, at) : start(next, at);
  },

  /** The camera instead of another source: the chosen one, or `deviceId`. */
  "camera-chosen"(state, { deviceId = null, at }) {
    const choice = deviceId === null ? {} : choiceOf(state.camera.devices, deviceId);
    const settings = validSettings({ ...state.settings, ...choice });
    const next = { ...changed(state, CAMERA, at), settings };
    return next.started ? openCamera(next, at) : next;
  },

  /** Files are read, of which none is shown yet. */
  "files-chosen"(state, { count, at }) {
    const panel = state.panel === "source" ? null : state.panel;
    return { ...state, reading: state.reading + count, readingAt: at, refusal: null, panel };
  },

  /** One file was read, whatever came of it. */
  "file-read"(state) {
    return { ...state, reading: Math.max(0, state.reading - 1) };
  },

  /** What could not be shown; what is in view stays. */
  "source-refused"(state, { kind, problems }) {
    const earlier = state.refusal?.kind === kind && kind === "files" ? state.refusal.problems : [];
    // In a small window the panel leaves no room for the notice.
    const panel = state.panel === "source" ? null : state.panel;
    return { ...state, panel, refusal: { kind, problems: [...earlier, ...problems] } };
  },

  "refusal-closed"(state) {
    return { ...state, refusal: null };
  },
};
