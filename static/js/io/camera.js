// The camera of the <video>: opening it, naming its failures, and listing cameras.

import { CHECK_EVERY_MS, checked, initialLiveness } from "../core/liveness.js";

const FIRST_FRAME_TIMEOUT_MS = 10_000;

/** Whether the browser lets this page use cameras: only on secure origins, such as localhost. */
export const mayUseCamera = () =>
  window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);

/** The browser's error names as the problems of the state. */
const PROBLEMS = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "taken",
  AbortError: "taken",
};

/** Chromium's messages that say more than the name; the other engines have one for all refusals. */
const MESSAGES = [
  [/^Permission denied by system/i, "system"],
  [/^Permission dismissed/i, "dismissed"],
  [/^Timeout starting video source/i, "silent"],
];

/**
 * Resolves to the problem of an error of `openCamera`: denied, dismissed, system, embedded, missing,
 * taken, silent or unknown.
 */
export async function problemOf(error) {
  if (error.problem) return error.problem;
  const known = MESSAGES.find(([message]) => message.test(error.message ?? ""));
  if (known) return known[1];
  const problem = PROBLEMS[error.name] ?? "unknown";
  if (problem !== "denied") return problem;
  if (isShutOut()) return "embedded";
  // Firefox and Safari say the same of a closed prompt and of a blocked page, but forget the former.
  const isOpen = (await cameraPermission()) === "prompt";
  return isOpen && !/^Permission denied/i.test(error.message) ? "dismissed" : "denied";
}

/** Whether the page around this one does not let it use the camera. */
const isShutOut = () => {
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  return window.top !== window && policy?.allowsFeature?.("camera") === false;
};

// A wish for width and height makes Chromium crop the picture to their shape; it scales to a width
// alone (docs/cameras.md).
const SIZE = { width: { ideal: 1280 } };

/**
 * Opens a camera into `video` and resolves to { deviceId } when the first frame is shown.
 *
 * - `deviceId`: the camera; "" means any, on a phone preferably the rear one. No other one is opened.
 * - `clock`: counts the frames of `video`; see frame-clock.js.
 * - `onEnded`: called if the track ends; `onMuted(isMuted, silentMs)` if the browser or the system
 *   mutes or unmutes it, with how long no frame had come; `onStalled(isStalled)` if no frame has come
 *   for a while, or one comes again.
 *
 * Aborting `signal` closes the camera, also while the permission prompt is open.
 */
export async function openCamera(video, options) {
  const { deviceId, clock, now, onEnded, onMuted, onStalled, signal } = options;
  const camera = deviceId
    ? { deviceId: { exact: deviceId } }
    : { facingMode: { ideal: "environment" } };
  const constraints = { video: { ...camera, ...SIZE }, audio: false };
  const stream = await navigator.mediaDevices.getUserMedia(constraints);
  const [track] = stream.getVideoTracks();
  const close = () => {
    track.stop();
    if (video.srcObject === stream) video.srcObject = null;
  };
  if (signal.aborted) return close();
  signal.addEventListener("abort", close, { once: true });
  track.addEventListener("ended", onEnded, { signal });
  track.addEventListener("mute", () => onMuted(true, now() - clock.at), { signal });
  track.addEventListener("unmute", () => onMuted(false, 0), { signal });
  video.srcObject = stream;
  try {
    await firstFrame(video, signal);
  } catch (error) {
    close();
    throw error;
  }
  watchFrames(clock, now, onStalled, signal);
  return { deviceId: track.getSettings().deviceId ?? "" };
}

/** Calls `onStalled(isStalled)` when frames stop or come again, until `signal` is aborted. */
function watchFrames(clock, now, onStalled, signal) {
  let liveness = initialLiveness(clock.total(), now());
  const timer = setInterval(() => {
    const before = liveness;
    const seen = { count: clock.total(), isHidden: document.hidden, at: now() };
    liveness = checked(before, seen);
    if (liveness.isStalled !== before.isStalled) onStalled(liveness.isStalled);
  }, CHECK_EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
}

export async function firstFrame(video, signal) {
  // A muted inline video may autoplay everywhere; if it may not, its frames still arrive.
  video.play().catch(() => {});
  if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) return;
  await new Promise((resolve, reject) => {
    const listeners = new AbortController();
    const finish = (settle, value) => {
      clearTimeout(timer);
      listeners.abort();
      settle(value);
    };
    const noFrame = Object.assign(new Error("No frame arrived."), { problem: "silent" });
    const timer = setTimeout(() => finish(reject, noFrame), FIRST_FRAME_TIMEOUT_MS);
    video.addEventListener("loadeddata", () => finish(resolve), { signal: listeners.signal });
    signal.addEventListener("abort", () => finish(resolve), { signal: listeners.signal });
  });
}

/** Resolves to the cameras as [{ deviceId, label }]; both are "" before the permission is given. */
export async function listCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter(({ kind }) => kind === "videoinput")
    .map(({ deviceId, label }) => ({ deviceId, label }));
}

/** Resolves to whether this page may use cameras: granted, denied, prompt, or "" if it is not told. */
export async function cameraPermission() {
  return (await permissionStatus())?.state ?? "";
}

/** A browser drops a status, with its listeners, once only its listeners refer to it. */
let kept = null;

async function permissionStatus() {
  try {
    kept ??= await navigator.permissions.query({ name: "camera" });
  } catch {
    // Some browsers have no permission of that name; "Try again" still works there.
  }
  return kept;
}

/** Calls `onChange` when devices are connected or removed or this page's permission changes. */
export async function watchCameras(onChange, signal) {
  navigator.mediaDevices.addEventListener("devicechange", onChange, { signal });
  const status = await permissionStatus();
  status?.addEventListener("change", onChange, { signal });
}
