// One picture to one JPEG, on whichever thread: the worker and the fallback both come here.

import { hasChanged, thumbnailOf } from "../core/difference.js";

/** The size that brings the longest side to at most `maxSidePx`, never larger than the picture is. */
export function fitWithin(width, height, maxSidePx) {
  const scale = Math.min(1, maxSidePx / Math.max(width, height));
  return {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
}

/**
 * Draws `picture` (anything drawImage takes, `width` x `height` pixels) to `canvas` and compresses it.
 *
 * `wish` is { maxSidePx, quality (0..1), reference }. With a `reference` thumbnail, a picture that
 * hardly differs from it is not compressed and `blob` is null. Returns { blob, thumbnail }.
 */
export async function compress(canvas, picture, width, height, wish) {
  const size = fitWithin(width, height, wish.maxSidePx);
  canvas.width = size.width;
  canvas.height = size.height;
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, size.width, size.height);
  const pixels = context.getImageData(0, 0, size.width, size.height);
  const thumbnail = thumbnailOf(pixels.data, size.width, size.height);
  if (wish.reference && !hasChanged(wish.reference, thumbnail)) return { blob: null, thumbnail };
  return { blob: await toJpeg(canvas, wish.quality), thumbnail };
}

async function toJpeg(canvas, quality) {
  const blob = canvas.convertToBlob
    ? await canvas.convertToBlob({ type: "image/jpeg", quality })
    : await new Promise((resolve) => {
        canvas.toBlob(resolve, "image/jpeg", quality);
      });
  if (!blob) throw new Error("The browser could not compress the picture.");
  return blob;
}
