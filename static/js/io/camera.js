// The camera of the <video>: opening it, naming its failures, and listing cameras.

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

export const problemOf = (error) => error.problem ?? PROBLEMS[error.name] ?? "unknown";

/**
 * Opens a camera into `video` and resolves to { deviceId } when the first frame is shown.
 *
 * `deviceId` "" means any camera, on a phone preferably the rear one. `onEnded` is called if the
 * camera is disconnected, `onMuted(isMuted)` if its video stops or resumes. Aborting `signal` closes
 * the camera, also while the permission prompt is open.
 */
export async function openCamera(video, { deviceId, onEnded, onMuted, signal }) {
  const stream = await getStream(deviceId);
  const [track] = stream.getVideoTracks();
  const close = () => {
    track.stop();
    if (video.srcObject === stream) video.srcObject = null;
  };
  if (signal.aborted) return close();
  signal.addEventListener("abort", close, { once: true });
  track.addEventListener("ended", onEnded, { signal });
  track.addEventListener("mute", () => onMuted(true), { signal });
  track.addEventListener("unmute", () => onMuted(false), { signal });
  video.srcObject = stream;
  try {
    await firstFrame(video, signal);
  } catch (error) {
    close();
    throw error;
  }
  return { deviceId: track.getSettings().deviceId ?? "" };
}

async function getStream(deviceId) {
  const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
  const get = (constraints) =>
    navigator.mediaDevices.getUserMedia({ video: { ...constraints, ...size }, audio: false });
  if (deviceId) {
    try {
      return await get({ deviceId: { exact: deviceId } });
    } catch (error) {
      // The stored camera is not connected: use any other.
      if (problemOf(error) !== "missing") throw error;
    }
  }
  return get({ facingMode: { ideal: "environment" } });
}

async function firstFrame(video, signal) {
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

/** Calls `onChange` when a camera is connected or removed or this page's permission changes. */
export async function watchCameras(onChange, signal) {
  navigator.mediaDevices.addEventListener("devicechange", onChange, { signal });
  try {
    const permission = await navigator.permissions.query({ name: "camera" });
    permission.addEventListener("change", onChange, { signal });
  } catch {
    // Some browsers have no permission of that name; "Try again" still works there.
  }
}
