// Takes frames from the video: a picture of this moment, compressed in a worker where the browser can.

import { compress } from "./compress.js";

const WORKER_PATIENCE_MS = 5_000;

const canUseWorker = () =>
  typeof Worker === "function" &&
  typeof createImageBitmap === "function" &&
  typeof OffscreenCanvas === "function" &&
  "convertToBlob" in OffscreenCanvas.prototype;

/**
 * Returns { take(wish), destroy() } for a <video>. `take` resolves to { blob, thumbnail } as
 * `compress` gives it, and rejects when the video has no picture.
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

  async function takeInWorker(wish) {
    const picture = await createImageBitmap(video);
    lastId += 1;
    return askWorker(worker, { id: lastId, picture, wish });
  }

  return {
    async take(wish) {
      if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA)
        throw new Error("The camera has not sent a picture yet.");
      if (worker) {
        try {
          return await takeInWorker(wish);
        } catch {
          // Old browsers know the parts but not the whole; this frame and all later ones go by hand.
          dropWorker();
        }
      }
      const canvas = document.createElement("canvas");
      return compress(canvas, video, video.videoWidth, video.videoHeight, wish);
    },
    destroy: dropWorker,
  };
}

function askWorker(worker, message) {
  return new Promise((resolve, reject) => {
    const listening = new AbortController();
    const finish = (settle, value) => {
      listening.abort();
      clearTimeout(patience);
      settle(value);
    };
    const patience = setTimeout(
      () => finish(reject, new Error("The worker does not answer.")),
      WORKER_PATIENCE_MS,
    );
    const { signal } = listening;
    worker.addEventListener(
      "message",
      ({ data }) => {
        if (data.id !== message.id) return;
        if (data.failure) finish(reject, new Error(data.failure));
        else finish(resolve, data);
      },
      { signal },
    );
    worker.addEventListener("error", () => finish(reject, new Error("The worker failed.")), {
      signal,
    });
    worker.postMessage(message, [message.picture]);
  });
}
