// The true levels of a camera. Frames of motion-JPEG cameras have levels of 0 to 255, but Chromium takes
// them for 16 to 235 (crbug.com/1449570) and so clips dark and bright ones. The planes of its frames are
// whole: where they hold levels outside of 16 to 235, the frame is made anew with the right range.

const TRUE_RANGE = {
  fullRange: true,
  matrix: "smpte170m",
  primaries: "bt709",
  transfer: "iec61966-2-1",
};
// JPEG and sharpening add a few levels beyond 16 and 235 to a camera of the narrow range.
const LOWEST_NARROW = 12;
const HIGHEST_NARROW = 239;
const OUTSIDE_SHARE = 0.01;
/** Every this many pixels and rows are counted. */
const STEP = 4;
// A broken frame is of one colour, often with levels that no narrow range has.
const SPREAD_LEVELS = 30;
// So many frames show that all of them have the full range, also those without dark or bright levels.
const PROOFS = 3;

/** Only Chromium has both, and only there the range is mistaken. */
const canReadPlanes = () =>
  typeof VideoFrame === "function" && "MediaStreamTrackProcessor" in window;

/**
 * Returns { isFullRange, frameOf(video) } for the camera of a <video>. `frameOf` resolves to the
 * video's present frame with its true levels, to be closed by the caller, or to null if the browser
 * reads the camera's levels right.
 */
export function createLevels() {
  let stream = null;
  let proofs = 0;

  async function read(frame) {
    const planes = new Uint8Array(frame.allocationSize());
    const layout = await frame.copyTo(planes);
    const { width, height } = frame.visibleRect;
    const { share, spread } = outside(planes, layout[0], width, height);
    if (share >= OUTSIDE_SHARE && spread >= SPREAD_LEVELS) proofs += 1;
    if (share < OUTSIDE_SHARE && proofs < PROOFS) return null;
    const { format, timestamp } = frame;
    const size = { codedWidth: width, codedHeight: height };
    return new VideoFrame(planes, { format, timestamp, layout, ...size, colorSpace: TRUE_RANGE });
  }

  return {
    get isFullRange() {
      return proofs >= PROOFS;
    },
    async frameOf(video) {
      if (!canReadPlanes()) return null;
      if (video.srcObject !== stream) [stream, proofs] = [video.srcObject, 0];
      const frame = new VideoFrame(video);
      try {
        return isReadable(frame) ? await read(frame) : null;
      } finally {
        frame.close();
      }
    },
  };
}

/** Whether the planes can be read as they are, and the browser does not know their range. */
function isReadable({
  format,
  colorSpace,
  visibleRect,
  displayWidth,
  displayHeight,
  rotation,
  flip,
}) {
  const isUpright = !rotation && !flip;
  const isWhole = displayWidth === visibleRect?.width && displayHeight === visibleRect?.height;
  return ["I420", "NV12"].includes(format) && colorSpace.fullRange === null && isUpright && isWhole;
}

/** The share (0..1) of luma levels outside of the narrow range, and the spread of all. */
function outside(planes, { offset, stride }, width, height) {
  let [count, out, least, most] = [0, 0, 255, 0];
  for (let y = 0; y < height; y += STEP) {
    for (let x = 0; x < width; x += STEP) {
      const level = planes[offset + y * stride + x];
      count += 1;
      if (level < LOWEST_NARROW || level > HIGHEST_NARROW) out += 1;
      if (level < least) least = level;
      if (level > most) most = level;
    }
  }
  return { share: out / count, spread: most - least };
}
