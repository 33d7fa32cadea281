// Captures frames from the video, compressed in a worker if the browser supports it.

import { compress } from "./compress.js";
import { createLevels } from "./levels.js";

const WORKER_TIMEOUT_MS = 5_000;
// A frame older than this is not captured: a newer one is waited for.
const MAX_AGE_MS = 1_000;
const NEW_FRAME_TIMEOUT_MS = 4_000;

const canUseWorker = () =>
  typeof Worker === "function" &&
  typeof createImageBitmap === "function" &&
  typeof OffscreenCanvas === "function" &&
  "convertToBlob" in OffscreenCanvas.prototype;

/**
 * Returns { capture(options), destroy() } for a <video>, whose frames `clock` counts (frame-clock.js).
 * `isCamera()` tells whether it shows a camera: a picture of anything else lasts until there is another.
 *
 * `capture` resolves to the { blob, thumbnail } of `compress` with { count, at, time, seconds, isFullRange }: the
 * frame's number, when it came by `now()` and by the browser's own clock, its place in a video or null, and whether the camera's
 * levels were corrected. `options` are those of `compress` with { after, signal }: the frame must have
 * a greater number than `after.count` and come at `after.time` or later. It rejects if none
 * comes, or with FalsifiedError as `compress` does.
 */
export function createFrameSource(video, clock, now, isCamera) {
  const levels = createLevels();
  let worker = canUseWorker() ? startWorker() : null;
  let lastId = 0;

  function startWorker() {
    return new Worker(new URL("./encoder-worker.js", import.meta.url), { type: "module" });
  }

  function dropWorker() {
    worker?.terminate();
    worker = null;
  }

  /** Resolves once the video shows a frame after `after` that is not old. */
  async function newFrame({ count, time }, signal) {
    const isOld = now() - clock.at > MAX_AGE_MS;
    const after = { count: isOld ? Math.max(count, clock.count) : count, time };
    await clock.next(after, NEW_FRAME_TIMEOUT_MS, signal);
    if (signal.aborted) return;
    if (!clock.isAfter(after) || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA)
      throw new Error("The camera has sent no new frame.");
  }

  /** Resolves once the video shows the frame of the place that it was moved to. */
  async function presentFrame(signal) {
    if (video.seeking) await eventOf(video, "seeked", signal);
    else if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA)
      await eventOf(video, "loadeddata", signal);
    if (video.seeking || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA)
      throw new Error("The video shows no frame.");
  }

  async function compressed(options) {
    const frame = isCamera() ? await levels.frameOf(video) : null;
    try {
      return await compressFrom(frame ?? video, options);
    } finally {
      frame?.close();
    }
  }

  async function compressFrom(source, options) {
    if (worker) {
      try {
        const image = await createImageBitmap(source);
        lastId += 1;
        return await callWorker(worker, { id: lastId, image, options });
      } catch {
        // Old browsers have the parts but not all of it, and a browser that falsifies pictures may
        // be told not to for the page, but not for its worker: use the main thread from now on.
        dropWorker();
      }
    }
    const canvas = document.createElement("canvas");
    return compress(canvas, source, video.videoWidth, video.videoHeight, options);
  }

  return {
    async capture({ after = ANY_FRAME, signal = NEVER, ...options }) {
      if (!isCamera()) {
        await presentFrame(signal);
        const seconds = video.srcObject ? null : video.currentTime;
        const present = { count: clock.count, at: now(), time: performance.now(), seconds };
        return { ...(await compressed(options)), ...present, isFullRange: false };
      }
      await newFrame(after, signal);
      const { count, at, time } = clock;
      const result = await compressed(options);
      return { ...result, count, at, time, seconds: null, isFullRange: levels.isFullRange };
    },
    destroy: dropWorker,
  };
}

/** Resolves at the event, on abort, or after a while. */
function eventOf(video, name, signal) {
  return new Promise((resolve) => {
    const listeners = new AbortController();
    const finish = () => {
      listeners.abort();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(finish, NEW_FRAME_TIMEOUT_MS);
    video.addEventListener(name, finish, { signal: listeners.signal });
    signal.addEventListener("abort", finish, { signal: listeners.signal });
  });
}

const ANY_FRAME = { count: 0, time: -Infinity };

/** The signal of a capture that is not aborted. */
const NEVER = new AbortController().signal;

function callWorker(worker, message) {
  return new Promise((resolve, reject) => {
    const listeners = new AbortController();
    const finish = (settle, value) => {
      listeners.abort();
      clearTimeout(timer);
      settle(value);
    };
    const timer = setTimeout(
      () => finish(reject, new Error("The worker does not respond.")),
      WORKER_TIMEOUT_MS,
    );
    const { signal } = listeners;
    worker.addEventListener(
      "message",
      ({ data }) => {
        if (data.id !== message.id) return;
        if (data.error) finish(reject, new Error(data.error));
        else finish(resolve, data);
      },
      { signal },
    );
    worker.addEventListener("error", () => finish(reject, new Error("The worker failed.")), {
      signal,
    });
    worker.postMessage(message, [message.image]);
  });
}
