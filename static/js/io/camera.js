// The camera behind the <video>: opening, what went wrong in one word, and which cameras there are.

const PICTURE_PATIENCE_MS = 10_000;

/** Whether this browser lends cameras to this page: only on secure origins, of which localhost is one. */
export const mayUseCamera = () =>
  window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);

/** The browser's names of failures, as the state knows them. */
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
 * Opens a camera into `video` and resolves to { deviceId, close() } once a picture is there.
 *
 * `deviceId` "" asks for any, on a phone rather the one that looks away from the person. `onEnded` is
 * called when the camera goes by itself, `onMuted(isMuted)` when its picture stops or comes back.
 * `signal` closes it again, also while the browser is still asking the person.
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
    await firstPicture(video, signal);
  } catch (error) {
    close();
    throw error;
  }
  return { deviceId: track.getSettings().deviceId ?? "" };
}

async function getStream(deviceId) {
  const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
  const get = (which) =>
    navigator.mediaDevices.getUserMedia({ video: { ...which, ...size }, audio: false });
  if (deviceId) {
    try {
      return await get({ deviceId: { exact: deviceId } });
    } catch (error) {
      // The remembered one is not plugged in today: any other will do.
      if (problemOf(error) !== "missing") throw error;
    }
  }
  return get({ facingMode: { ideal: "environment" } });
}

async function firstPicture(video, signal) {
  // Muted and inline, a video may play by itself everywhere; where it may not, its picture still comes.
  video.play().catch(() => {});
  if (video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) return;
  await new Promise((resolve, reject) => {
    const listening = new AbortController();
    const finish = (settle, value) => {
      clearTimeout(patience);
      listening.abort();
      settle(value);
    };
    const noPicture = Object.assign(new Error("No picture came."), { problem: "silent" });
    const patience = setTimeout(() => finish(reject, noPicture), PICTURE_PATIENCE_MS);
    video.addEventListener("loadeddata", () => finish(resolve), { signal: listening.signal });
    signal.addEventListener("abort", () => finish(resolve), { signal: listening.signal });
  });
}

/** The cameras as [{ deviceId, label }]; both are "" until the permission is given. */
export async function listCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter(({ kind }) => kind === "videoinput")
    .map(({ deviceId, label }) => ({ deviceId, label }));
}

/** Calls `onChange` when cameras come or go, or when the person changes this page's permission. */
export async function watchCameras(onChange, signal) {
  navigator.mediaDevices.addEventListener("devicechange", onChange, { signal });
  try {
    const permission = await navigator.permissions.query({ name: "camera" });
    permission.addEventListener("change", onChange, { signal });
  } catch {
    // Some browsers know no permission of that name; "Try again" is then the way on.
  }
}
