// Compresses one image to JPEG, in the worker or, as a fallback, on the main thread.

import { hasChanged, thumbnailOf } from "../core/difference.js";

/** The size with a longest side of at most `maxSidePx`; never larger than the image. */
export function fitWithin(width, height, maxSidePx) {
  const scale = Math.min(1, maxSidePx / Math.max(width, height));
  return {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
}

/**
 * Draws `image` (anything drawImage accepts, `width` x `height` pixels) to `canvas`, compresses it and
 * resolves to { blob, thumbnail }.
 *
 * `options` is { maxSidePx, quality (0..1), reference }. If the image does not differ from the
 * thumbnail `reference`, it is not compressed and `blob` is null.
 */
export async function compress(canvas, image, width, height, options) {
  const size = fitWithin(width, height, options.maxSidePx);
  canvas.width = size.width;
  canvas.height = size.height;
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, size.width, size.height);
  const pixels = context.getImageData(0, 0, size.width, size.height);
  const thumbnail = thumbnailOf(pixels.data, size.width, size.height);
  if (options.reference && !hasChanged(options.reference, thumbnail))
    return { blob: null, thumbnail };
  return { blob: await toJpeg(canvas, options.quality), thumbnail };
}

async function toJpeg(canvas, quality) {
  const blob = canvas.convertToBlob
    ? await canvas.convertToBlob({ type: "image/jpeg", quality })
    : await new Promise((resolve) => {
        canvas.toBlob(resolve, "image/jpeg", quality);
      });
  if (!blob) throw new Error("The browser could not compress the image.");
  return blob;
}
