// Captures frames from the video, compressed in a worker if the browser supports it.

import { compress } from "./compress.js";

const WORKER_TIMEOUT_MS = 5_000;

const canUseWorker = () =>
  typeof Worker === "function" &&
  typeof createImageBitmap === "function" &&
  typeof OffscreenCanvas === "function" &&
  "convertToBlob" in OffscreenCanvas.prototype;

/**
 * Returns { capture(options), destroy() } for a <video>. `capture` resolves to the { blob, thumbnail }
 * of `compress` and rejects if the video has no frame.
 */
export function createFrameSource(video) {
  let worker = canUseWorker() ? startWorker() : null;
  let lastId = 0;

  function startWorker() {
    return new Worker(new URL("./encoder-worker.js", import.meta.url), { type: "module" });
  }

  function dropWorker() {
    worker?.terminate();
    worker = null;
  }

  async function captureInWorker(options) {
    const image = await createImageBitmap(video);
    lastId += 1;
    return callWorker(worker, { id: lastId, image, options });
  }

  return {
    async capture(options) {
      if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA)
        throw new Error("The camera has sent no frame yet.");
      if (worker) {
        try {
          return await captureInWorker(options);
        } catch {
          // Old browsers have the parts but not all of it: use the main thread from now on.
          dropWorker();
        }
      }
      const canvas = document.createElement("canvas");
      return compress(canvas, video, video.videoWidth, video.videoHeight, options);
    },
    destroy: dropWorker,
  };
}

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
