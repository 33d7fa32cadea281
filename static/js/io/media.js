// Sources other than cameras: a shared window or screen, a video file, the sample. Each is prepared first,
// so that what is in view stays if it cannot be shown, and then opened into the <video>.

import { firstFrame } from "./camera.js";
import { FileError, whyUnreadable } from "./pictures.js";
import { createSample } from "./sample.js";

const PROBE_TIMEOUT_MS = 10_000;
const LENGTH_TIMEOUT_MS = 3_000;
const SURFACES = { monitor: "The screen", window: "A window", browser: "A browser tab" };

/** Whether this browser shares windows: those of phones do not, and only with secure pages. */
export const mayShareScreen = () => Boolean(navigator.mediaDevices?.getDisplayMedia);

/**
 * Returns { shareScreen(), addVideo(file), addSample(), open(options), setPlayback(playback) } for a <video>.
 * The first three resolve to a source as in core/source.js. Events of a video go to `dispatch`.
 */
export function createMedia(video, dispatch) {
  /** What is prepared, by the id of its source. */
  const prepared = new Map();
  let lastId = 0;
  let playback = null;

  function add(kind, name, media) {
    lastId += 1;
    prepared.set(lastId, { kind, ...media });
    return { kind, id: lastId, name };
  }

  /** Must be called in the task of a press. */
  async function displayStream() {
    try {
      return await navigator.mediaDevices.getDisplayMedia({
        video: { frameRate: { max: 30 } },
        audio: false,
      });
    } catch (error) {
      const problem =
        { NotAllowedError: "denied", NotFoundError: "missing" }[error.name] ?? "taken";
      throw Object.assign(error, { problem });
    }
  }

  async function openStream(stream, { signal, onEnded }) {
    const [track] = stream.getVideoTracks();
    const close = () => {
      track.stop();
      if (video.srcObject === stream) video.srcObject = null;
    };
    if (signal.aborted) return close();
    signal.addEventListener("abort", close, { once: true });
    track.addEventListener("ended", onEnded, { signal });
    video.srcObject = stream;
    await shown(signal, close);
    return { deviceId: "" };
  }

  async function shown(signal, close) {
    try {
      await firstFrame(video, signal);
    } catch (error) {
      close();
      throw error;
    }
  }

  async function openVideo(media, { signal, onEnded }) {
    const url = URL.createObjectURL(media.file);
    const close = () => {
      media.seconds = video.ended ? 0 : video.currentTime;
      video.removeAttribute("src");
      video.load();
      URL.revokeObjectURL(url);
    };
    signal.addEventListener("abort", close, { once: true });
    video.src = url;
    if (media.seconds) video.currentTime = media.seconds;
    playback = null;
    await shown(signal, () => {});
    await knownLength(video, signal);
    if (signal.aborted) return { deviceId: "" };
    // The file is gone, or broken from here on.
    video.addEventListener("error", onEnded, { signal });
    const tell = (name, eventOf) =>
      video.addEventListener(name, () => dispatch(eventOf()), { signal });
    tell("seeking", () => ({ type: "video-moving" }));
    tell("seeked", () => ({ type: "video-moved" }));
    video.addEventListener("pause", () => tellPause(true), { signal });
    video.addEventListener("play", () => tellPause(false), { signal });
    return { deviceId: "" };
  }

  /** What the page did itself is no news, nor what is over by now. */
  function tellPause(isPaused) {
    if (isPaused !== video.paused || isPaused !== playback?.plays) return;
    dispatch(isPaused ? { type: "video-paused", hasEnded: video.ended } : { type: "video-played" });
  }

  return {
    async shareScreen() {
      const stream = await displayStream();
      const { displaySurface } = stream.getVideoTracks()[0].getSettings();
      return add("screen", SURFACES[displaySurface] ?? "A window or the screen", { stream });
    },

    /** Rejects with FileError: "unplayable", "novideo", "gone", "empty". */
    async addVideo(file) {
      await probe(file);
      return add("video", file.name, { file, seconds: 0 });
    },

    addSample: () => add("sample", "Sample drawings", {}),

    /** Opens the source `id`, as `openCamera` opens a camera. */
    async open({ id, ...options }) {
      const media = prepared.get(id);
      if (media.kind === "video") return openVideo(media, options);
      if (media.kind === "sample") return openStream(await createSample(options.signal), options);
      // Once it has ended, a share is asked for again.
      const stream = media.stream?.active ? media.stream : await displayStream();
      media.stream = stream;
      return openStream(stream, options);
    },

    /** `next` is { plays, speed, loops } of the video that is open, or null. */
    setPlayback(next) {
      if (next === null) {
        playback = null;
        return;
      }
      video.loop = next.loops;
      if (video.playbackRate !== next.speed) video.playbackRate = next.speed;
      if (playback?.plays === next.plays) return;
      playback = next;
      // Browsers let a muted video play at any time.
      if (next.plays) video.play().catch(() => {});
      else video.pause();
    },
  };
}

/**
 * Resolves once the length of the video is known: in recordings of browsers it is missing, and found by a
 * jump to the end.
 */
async function knownLength(video, signal) {
  if (Number.isFinite(video.duration)) return;
  const from = video.currentTime;
  const jump = (seconds) =>
    new Promise((resolve) => {
      const listeners = new AbortController();
      const finish = () => {
        clearTimeout(timer);
        listeners.abort();
        resolve();
      };
      const timer = setTimeout(finish, LENGTH_TIMEOUT_MS);
      signal.addEventListener("abort", finish, { signal: listeners.signal });
      video.addEventListener("seeked", finish, { signal: listeners.signal });
      video.currentTime = seconds;
    });
  await jump(Number.MAX_SAFE_INTEGER);
  if (!signal.aborted) await jump(from);
}

/** Resolves if the browser can show a frame of the file. */
async function probe(file) {
  const trial = document.createElement("video");
  Object.assign(trial, { muted: true, preload: "auto", playsInline: true });
  const url = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new FileError("unplayable")), PROBE_TIMEOUT_MS);
      const fail = () =>
        whyUnreadable(file).then((why) => {
          const isThere = !["gone", "empty"].includes(why);
          reject(new FileError(isThere ? "unplayable" : why));
        });
      const finish = () => {
        clearTimeout(timer);
        // A file of sound alone has no size.
        if (trial.videoWidth) resolve();
        else reject(new FileError("novideo"));
      };
      trial.onerror = fail;
      trial.onloadeddata = finish;
      trial.src = url;
    });
  } finally {
    trial.removeAttribute("src");
    trial.load();
    URL.revokeObjectURL(url);
  }
}
