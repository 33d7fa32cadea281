// The part of the state that mirrors the camera: whether it is open and sends pictures, which one it
// is, and when it is opened again without a press. Pure, as state.js.
//
// Two rules: a camera that the person did not choose is never opened while the chosen one is missing,
// and a refusal is never asked again without a press, unless the permission has been given since.

import { areOtherCameras, choiceAfterListing, chosenAmong, knownCameras } from "./devices.js";
import { freshPace, nextCaptureAfterGap, restartCapture } from "./pace.js";

// Frames that had stopped this long before a mute stopped for another reason.
const STOPPED_BEFORE_MUTE_MS = 500;
// Time to read that the camera has stopped, before it is opened again.
const REVIVAL_DELAY_MS = 2_000;
// One revival by itself in this time: a camera that stops again at once needs the person.
const REVIVAL_GAP_MS = 60_000;
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 30_000;
// A camera that worked for this long is not failing over and over.
const LASTING_MS = 10_000;

/** The refusals of a person, a browser or a system: only a new permission or a press can help. */
const REFUSALS = ["denied", "dismissed", "system", "embedded"];

export const initialCamera = (at) => ({
  /** off | opening | live | failed. */
  phase: "off",
  /** Counts the openings; events name theirs. */
  attempt: 0,
  /** Why it failed, or why it is being opened again by itself; see words/camera.js. */
  problem: null,
  /** When the phase began. */
  since: at,
  /** The id to open; "" for any camera. */
  target: "",
  /** Any camera was asked for, since the browser hides the names that would tell the chosen one. */
  isStandIn: false,
  /** The id of the open camera. */
  deviceId: "",
  /** Since when the system or the browser mutes it, or it sends no new frame; else null. */
  mutedSince: null,
  stalledSince: null,
  /** Its picture is black. */
  isBlack: false,
  /** It sends levels of 0 to 255 that the browser takes for 16 to 235; see io/levels.js. */
  isFullRange: false,
  /** When to open it again by itself, or null, and how often that was in vain. */
  retryAt: null,
  retries: 0,
  /** When it was last opened again because it had stopped. */
  revivedAt: -Infinity,
  /** The connected cameras: [{ deviceId, label }]. */
  devices: [],
  /** The permission: granted, denied, prompt or "" if unknown; and whether it was taken back. */
  permission: "",
  isWithdrawn: false,
});

/** Whether the camera sends new pictures. */
export const sendsPictures = ({ phase, mutedSince, stalledSince }) =>
  phase === "live" && mutedSince === null && stalledSince === null;

/** Whether there is something to see in its pictures. */
export const showsSomething = (camera) => sendsPictures(camera) && !camera.isBlack;

/** The state with the chosen camera about to be opened, or any if none is chosen. */
export function openCamera(state, at) {
  const { settings, camera, source } = state;
  if (source.kind !== "camera") return opening(state, "", at);
  const found = settings.deviceId ? chosenAmong(camera.devices, settings) : null;
  if (settings.deviceId && !found && knownCameras(camera.devices).length > 0) {
    return failed(state, "gone", at);
  }
  return opening(state, found?.deviceId ?? settings.deviceId, at);
}

/**
 * The state after "Try again": the camera is opened again unless it sends pictures. The chosen one is
 * tried even if it is not listed, since not every browser tells of a camera that is plugged in.
 */
export function retriedCamera(state, at) {
  const { started, camera, settings } = state;
  const isFine = sendsPictures(camera) || camera.phase === "opening";
  if (!started || isFine) return state;
  if (camera.problem !== "gone") return openCamera(state, at);
  return opening(state, chosenAmong(camera.devices, settings)?.deviceId ?? settings.deviceId, at);
}

function opening(state, target, at, fields = {}) {
  const camera = {
    ...state.camera,
    phase: "opening",
    attempt: state.camera.attempt + 1,
    problem: null,
    since: at,
    target,
    isStandIn: false,
    retryAt: null,
    ...withoutPictures,
    ...fields,
  };
  return { ...restartCapture(state, at), camera };
}

const withoutPictures = { mutedSince: null, stalledSince: null, isBlack: false };

/** Open the camera again by itself; the notice of its problem stays meanwhile. */
function reopened(state, at) {
  const { problem, stalledSince, retries } = state.camera;
  const fields = { problem, retries: retries + 1 };
  if (stalledSince !== null) Object.assign(fields, { problem: "stalled", revivedAt: at });
  const next = openCamera(state, at);
  return next.camera.phase === "opening"
    ? { ...next, camera: { ...next.camera, ...fields } }
    : next;
}

function failed(state, problem, at) {
  const { camera } = state;
  const lasted = camera.phase === "live" && at - camera.since >= LASTING_MS;
  const retries = lasted ? 0 : camera.retries;
  const isRetried = problem === "taken" && state.source.kind === "camera";
  const retryAt = isRetried ? at + retryDelayMs(retries) : null;
  const fields = { phase: "failed", problem, since: at, retries, retryAt, ...withoutPictures };
  return { ...state, request: null, camera: { ...camera, ...fields } };
}

const retryDelayMs = (retries) => Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** retries);

export const stoppedCamera = (camera, at) => ({
  ...camera,
  phase: "off",
  problem: null,
  since: at,
  retryAt: null,
  retries: 0,
  ...withoutPictures,
});

export const cameraHandlers = {
  "camera-opened"(state, { attempt, deviceId, at }) {
    if (attempt !== state.camera.attempt || state.camera.phase !== "opening") return state;
    const fields = { phase: "live", problem: null, since: at, deviceId, isFullRange: false };
    const camera = { ...state.camera, ...fields };
    return settledOn({ ...state, camera, pace: freshPace(at) }, at);
  },

  /**
   * `problem`: one of words/camera.js. "ended": its track ended; the cameras were listed since, which
   * tells why.
   */
  "camera-failed"(state, { attempt, problem, at }) {
    if (attempt !== state.camera.attempt || !state.started) return state;
    if (state.source.kind !== "camera") return failed(state, problem, at);
    const isChosen = state.settings.deviceId !== "" && !state.camera.isStandIn;
    const next = failed(state, problem === "missing" && isChosen ? "gone" : problem, at);
    return problem === "ended" ? afterEnd(next, at) : next;
  },

  /**
   * `silentMs`: how long no new frame had come by then. Chromium mutes a track whose camera stopped
   * by itself: that is told as "stalled".
   */
  "camera-muted"(state, { attempt, muted, silentMs = 0, at }) {
    if (attempt !== state.camera.attempt) return state;
    if (muted && silentMs >= STOPPED_BEFORE_MUTE_MS) return state;
    const camera = { ...state.camera, mutedSince: muted ? at : null };
    return withoutUnsentFrame({ ...state, camera });
  },

  /** `stalled`: no new frame has come for a while; else they come again. */
  "camera-stalled"(state, { attempt, stalled, at }) {
    if (attempt !== state.camera.attempt || state.camera.phase !== "live") return state;
    if (!stalled)
      return { ...state, camera: { ...state.camera, stalledSince: null, retryAt: null } };
    const canRevive = at - state.camera.revivedAt >= REVIVAL_GAP_MS;
    const retryAt = canRevive ? at + REVIVAL_DELAY_MS : null;
    return { ...state, request: null, camera: { ...state.camera, stalledSince: at, retryAt } };
  },

  "camera-retry-due"(state, { at }) {
    const { retryAt } = state.camera;
    return state.started && retryAt !== null && retryAt <= at ? reopened(state, at) : state;
  },

  /** The person allows any camera, to learn the names that tell the chosen one. */
  "any-camera-asked"(state, { at }) {
    return state.started ? opening(state, "", at, { isStandIn: true }) : state;
  },

  /**
   * `changed`: because devices or the permission changed, or a track ended. `permission`: whether the
   * page may use cameras.
   */
  "devices-listed"(state, { devices, changed, permission = "", at }) {
    const before = state.camera;
    const isAllowed = permission === "granted";
    const isWithdrawn = !isAllowed && (before.isWithdrawn || before.permission === "granted");
    const camera = { ...before, devices, permission, isWithdrawn };
    const next = settledOn(
      { ...state, camera, settings: choiceAfterListing(devices, state.settings) },
      at,
    );
    if (!next.started || next.camera.phase !== "failed" || next.source.kind !== "camera")
      return next;
    const isOther = areOtherCameras(before.devices, devices);
    const isNewlyAllowed = isAllowed && before.permission !== "granted";
    return afterListing(next, { isNewlyAllowed, isOther, changed, at });
  },

  /** The camera's picture is black: nothing to caption. */
  "frame-black"(state, { id, at }) {
    if (state.request?.id !== id) return state;
    const camera = { ...state.camera, isBlack: true };
    const pace = { ...state.pace, captureAt: nextCaptureAfterGap(state, at) };
    return { ...state, request: null, camera, pace };
  },
};

/** Follow the open camera's changed id, and leave a stand-in once the chosen camera is found. */
function settledOn(state, at) {
  const { camera, settings, source } = state;
  if (camera.phase !== "live" || source.kind !== "camera") return state;
  const chosen = settings.deviceId ? chosenAmong(camera.devices, settings) : null;
  const isListed = camera.devices.some(({ deviceId }) => deviceId === camera.deviceId);
  if (!chosen || chosen.deviceId === camera.deviceId) return state;
  if (camera.isStandIn) return opening(state, chosen.deviceId, at);
  if (isListed) return state;
  return { ...state, camera: { ...camera, deviceId: chosen.deviceId } };
}

/** Whether a failed camera can be opened again, now that the cameras were listed. */
function afterListing(state, { isNewlyAllowed, isOther, changed, at }) {
  const { settings, camera } = state;
  const { problem } = camera;
  if (REFUSALS.includes(problem)) return isNewlyAllowed ? openCamera(state, at) : state;
  if (problem === "ended" && !isOther && !(changed && camera.permission !== "prompt")) {
    return afterEnd(state, at);
  }
  if (problem === "gone") {
    const chosen = chosenAmong(camera.devices, settings);
    // An id that the browser listed and did not open is tried again when the cameras have changed.
    const isNew = chosen && (isOther || chosen.deviceId !== camera.target);
    return isNew ? openCamera(state, at) : state;
  }
  return changed && camera.devices.length > 0 ? openCamera(state, at) : state;
}

/** What an ended track means: a camera unplugged, a permission withdrawn, or a failure. */
function afterEnd(state, at) {
  const { settings, camera } = state;
  const known = knownCameras(camera.devices);
  if (settings.deviceId && !chosenAmong(known, settings) && known.length > 0) {
    return failed(state, "gone", at);
  }
  if (camera.devices.length === 0) return settings.deviceId ? failed(state, "gone", at) : state;
  if (camera.isWithdrawn) return failed(state, "denied", at);
  const isThere = known.some(({ deviceId }) => deviceId === camera.deviceId);
  if (!settings.deviceId && !isThere) return openCamera(state, at);
  // Where the browser would ask again, the person presses first.
  if (camera.retryAt !== null || camera.permission !== "granted") return state;
  return { ...state, camera: { ...camera, retryAt: at + retryDelayMs(camera.retries) } };
}

/** Drop a frame that is still being looked at; one that was sent keeps its answer. */
function withoutUnsentFrame(state) {
  return state.request?.step === "capturing" ? { ...state, request: null } : state;
}
