// Compresses frames off the main thread, so that the video and the words never stutter for it.

import { compress } from "./compress.js";

const canvas = new OffscreenCanvas(1, 1);

self.addEventListener("message", async ({ data: { id, picture, wish } }) => {
  try {
    const result = await compress(canvas, picture, picture.width, picture.height, wish);
    self.postMessage({ id, ...result });
  } catch (error) {
    self.postMessage({ id, failure: String(error?.message ?? error) });
  } finally {
    picture.close();
  }
});
