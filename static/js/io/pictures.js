// Reads the person's picture files.

import { compress, fitWithin } from "./compress.js";
import { STILL } from "./stills.js";

/** A file beyond this is not read: no camera makes such pictures, and a tab has little memory. */
export const MAX_PICTURE_BYTES = 200_000_000;
/** Pixels, known before the picture is decoded, which needs 4 bytes for each. */
const MAX_PIXELS = 120_000_000;

/** Why a file cannot be shown: "type", "broken", "large", "gone"; for videos see media.js. */
export class FileError extends Error {
  constructor(why) {
    super(why);
    this.why = why;
  }
}

/**
 * Resolves to { picture, width, height }: an upright JPEG of a file's picture, on white where it is
 * transparent. Rejects with FileError, or with FalsifiedError as `compress` does.
 */
export async function readPicture(file) {
  if (file.size > MAX_PICTURE_BYTES) throw new FileError("large");
  const url = URL.createObjectURL(file);
  try {
    const image = await load(url, file);
    const { naturalWidth: fullWidth, naturalHeight: fullHeight } = image;
    if (fullWidth * fullHeight > MAX_PIXELS) throw new FileError("large");
    const { width, height } = fitWithin(fullWidth, fullHeight, STILL.maxSidePx);
    const ground = await drawn(file, image, width, height);
    const { blob } = await compress(document.createElement("canvas"), ground, width, height, STILL);
    return { picture: blob, width, height };
  } finally {
    URL.revokeObjectURL(url);
  }
}

/** The browser reads the head of the file here, and decodes the rest when it is drawn. */
async function load(url, file) {
  const image = new Image();
  image.src = url;
  await new Promise((resolve, reject) => {
    image.onload = resolve;
    image.onerror = () => whyUnreadable(file).then((why) => reject(new FileError(why)));
  });
  if (!image.naturalWidth || !image.naturalHeight) throw new FileError("broken");
  return image;
}

async function drawn(file, image, width, height) {
  const whole = await wholePicture(file, image);
  const ground = Object.assign(document.createElement("canvas"), { width, height });
  const context = ground.getContext("2d", { alpha: false });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(whole, 0, 0, width, height);
  whole.close?.();
  return ground;
}

/** An <img> shows the beginning of a file that was cut off; a bitmap is whole, but never an SVG. */
async function wholePicture(file, image) {
  if (file.type === "image/svg+xml") return image;
  try {
    return await createImageBitmap(file);
  } catch {
    throw new FileError("broken");
  }
}

/** Whether the file is there and wrong, or is there no more. */
export async function whyUnreadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    return "gone";
  }
  if (file.size === 0) return "empty";
  return file.type.startsWith("image/") ? "broken" : "type";
}
