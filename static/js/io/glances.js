// Small pictures of the video for the object finder, made at little cost: a glance reads the brightness
// of the camera's own frame if it can, and a look is drawn in the window, since to hand a whole frame to
// the worker costs more.

import { fitWithin } from "./compress.js";

const GLANCE_PX = 160;
/** The side of the detector's input. */
const LOOK_PX = 416;
const JPEG_QUALITY = 0.7;
/** Formats of frames whose first plane is brightness, a byte for each pixel. */
const WITH_LUMA = ["I420", "I420A", "I422", "I444", "NV12"];

/** Returns { glance(), look() } for a <video>; both reject if it has no frame. */
export function createGlances(video) {
  const small = document.createElement("canvas");
  const large = document.createElement("canvas");
  let bytes = new Uint8Array(0);
  let canRead = typeof VideoFrame === "function";

  function checkFrame() {
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
      throw new Error("The camera has sent no frame yet.");
    }
  }

  function draw(canvas, sidePx) {
    checkFrame();
    const { width, height } = fitWithin(video.videoWidth, video.videoHeight, sidePx);
    if (canvas.width !== width || canvas.height !== height)
      Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    context.drawImage(video, 0, 0, width, height);
    return context;
  }

  /** The brightness plane of the newest frame, or null if the browser does not give it upright. */
  async function plane() {
    const frame = new VideoFrame(video);
    try {
      const { width, height } = frame.visibleRect;
      const isUpright = width === video.videoWidth && height === video.videoHeight;
      if (!isUpright || frame.rotation || frame.flip || !WITH_LUMA.includes(frame.format))
        return null;
      const size = frame.allocationSize();
      if (bytes.length !== size) bytes = new Uint8Array(size);
      const [{ offset, stride }] = await frame.copyTo(bytes);
      return { offset, stride, width, height };
    } finally {
      frame.close();
    }
  }

  function drawnGlance() {
    const context = draw(small, GLANCE_PX);
    const { width, height } = small;
    const rgba = context.getImageData(0, 0, width, height).data;
    const luma = new Float32Array(width * height);
    for (let index = 0; index < luma.length; index += 1) {
      const at = index * 4;
      luma[index] = 0.299 * rgba[at] + 0.587 * rgba[at + 1] + 0.114 * rgba[at + 2];
    }
    return { luma, width, height };
  }

  return {
    /** Resolves to the newest frame as { luma, width, height }: a brightness for each pixel. */
    async glance() {
      checkFrame();
      const found = canRead ? await plane() : null;
      canRead = found !== null;
      return found ? shrunk(bytes, found) : drawnGlance();
    },

    /** Resolves to the newest frame as a JPEG for the detector. */
    async look() {
      draw(large, LOOK_PX);
      const blob = await new Promise((resolve) => {
        large.toBlob(resolve, "image/jpeg", JPEG_QUALITY);
      });
      if (!blob) throw new Error("The browser could not compress the image.");
      return blob;
    },
  };
}

/** A plane of brightness in the size of a glance; each pixel is the mean of four of the frame's. */
function shrunk(bytes, { offset, stride, width: fullWidth, height: fullHeight }) {
  const { width, height } = fitWithin(fullWidth, fullHeight, GLANCE_PX);
  const luma = new Float32Array(width * height);
  const [stepX, stepY] = [fullWidth / width, fullHeight / height];
  for (let y = 0; y < height; y += 1) {
    const [up, down] = [row(y + 0.25), row(y + 0.75)];
    for (let x = 0; x < width; x += 1) {
      const [left, right] = [Math.floor((x + 0.25) * stepX), Math.floor((x + 0.75) * stepX)];
      const sum = bytes[up + left] + bytes[up + right] + bytes[down + left] + bytes[down + right];
      luma[y * width + x] = sum / 4;
    }
  }
  return { luma, width, height };

  function row(y) {
    return offset + Math.floor(y * stepY) * stride;
  }
}
