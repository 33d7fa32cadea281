// Takes a still from the live picture, and cuts from it what is sent with a question.

import { compress } from "./compress.js";

/** Of the picture that is kept: enough for the finest detail that a model sees. */
export const STILL = { maxSidePx: 2048, quality: 0.92, reference: null, region: null };

/** Returns { take(signal), cut(still, options) } over the frames of io/frames.js. */
export function createStills(frames) {
  /** What was cut last from each picture, by it: the same question about it sends the same bytes. */
  const cuts = new WeakMap();

  return {
    /** Resolves to { picture, width, height, seconds }: the JPEG of the next frame, and its place in a video. */
    async take(signal) {
      const { blob, seconds } = await frames.capture({ ...STILL, signal });
      const image = await createImageBitmap(blob);
      const { width, height } = image;
      image.close();
      return { picture: blob, width, height, seconds };
    },

    /**
     * Resolves to a JPEG of a still: its `region`, null for all, with a longest side of at most
     * `maxSidePx`, null for its own.
     */
    async cut({ picture }, { region, maxSidePx, quality }) {
      if (region === null && maxSidePx === null) return picture;
      const key = JSON.stringify([region, maxSidePx, quality]);
      if (cuts.get(picture)?.key === key) return cuts.get(picture).blob;
      const image = await createImageBitmap(picture);
      const { width, height } = image;
      const options = { region, maxSidePx: maxSidePx ?? STILL.maxSidePx, quality, reference: null };
      const canvas = document.createElement("canvas");
      const { blob } = await compress(canvas, image, width, height, options);
      image.close();
      cuts.set(picture, { key, blob });
      return blob;
    },
  };
}
