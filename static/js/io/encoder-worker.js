// The worker that compresses frames, so that video and captions never stutter. A worker needs a file
// of its own.

import { compress } from "./compress.js";

const canvas = new OffscreenCanvas(1, 1);

self.addEventListener("message", async ({ data: { id, image, options } }) => {
  try {
    const result = await compress(canvas, image, image.width, image.height, options);
    self.postMessage({ id, ...result });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  } finally {
    image.close();
  }
});
