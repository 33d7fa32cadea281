// Compresses one image to JPEG, in the worker or, as a fallback, on the main thread.

import { hasChanged, thumbnailOf } from "../core/difference.js";
import { checkCanvas } from "./canvas-check.js";
import { contextOf, shrink } from "./shrink.js";

/** The check of this browser's canvases, until it fails: then it may have been allowed meanwhile. */
let check = null;

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
 * `options` is { maxSidePx, quality (0..1), reference, region }. If the image does not differ from the
 * thumbnail `reference`, it is not compressed and `blob` is null. `region` is the part of the image to
 * take, [x0, y0, x1, y1] in 0..1, or null for all of it. Throws FalsifiedError if the browser does not
 * let pages read pictures.
 */
export async function compress(canvas, image, width, height, options) {
  check ??= checkCanvas(canvas, contextOf, toJpeg).catch((error) => {
    check = null;
    throw error;
  });
  await check;
  const part = partOf(width, height, options.region ?? [0, 0, 1, 1]);
  const size = fitWithin(part.width, part.height, options.maxSidePx);
  const pixels = shrink(canvas, image, part, size);
  const thumbnail = thumbnailOf(pixels.data, size.width, size.height);
  if (options.reference && !hasChanged(options.reference, thumbnail))
    return { blob: null, thumbnail };
  canvas.width = size.width;
  canvas.height = size.height;
  contextOf(canvas).putImageData(pixels, 0, 0);
  return { blob: await toJpeg(canvas, options.quality), thumbnail };
}

/** The whole pixels of a region, at least one: { left, top, width, height }. */
function partOf(width, height, [x0, y0, x1, y1]) {
  const left = Math.min(width - 1, Math.floor(x0 * width));
  const top = Math.min(height - 1, Math.floor(y0 * height));
  return {
    left,
    top,
    width: Math.max(1, Math.ceil(x1 * width) - left),
    height: Math.max(1, Math.ceil(y1 * height) - top),
  };
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
