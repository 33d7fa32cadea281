// Boxes: how much two overlap, where one lies on the screen, and in which part
// of the picture a box is. Pure functions. A box is [x0, y0, x1, y1], 0..1 of the frame.

/** Boxes are drawn at least this large, so that they can be seen and pressed. */
const SMALLEST_PX = 24;
/** Beyond this distance from the middle of the picture (0.5 is its edge) a box is at a side. */
const SIDE_FROM = 0.16;
/** How far a box must pass that line before its place changes, so that it does not flicker. */
const PLACE_SLACK = 0.03;
/** The part of a box's size that is added on each side of its cut-out. */
const CROP_MARGIN = 0.15;

export const areaOf = ([x0, y0, x1, y1]) => Math.max(0, x1 - x0) * Math.max(0, y1 - y0);

/** Intersection over union, 0..1. */
export function overlapOf(one, other) {
  const shared = areaOf([
    Math.max(one[0], other[0]),
    Math.max(one[1], other[1]),
    Math.min(one[2], other[2]),
    Math.min(one[3], other[3]),
  ]);
  const all = areaOf(one) + areaOf(other) - shared;
  return all > 0 ? shared / all : 0;
}

/** The box as a mirrored display shows it. */
export const mirrored = ([x0, y0, x1, y1]) => [1 - x1, y0, 1 - x0, y1];

/** The box with a margin, for a picture of it alone. */
export function withMargin([x0, y0, x1, y1]) {
  const [x, y] = [(x1 - x0) * CROP_MARGIN, (y1 - y0) * CROP_MARGIN];
  return [Math.max(0, x0 - x), Math.max(0, y0 - y), Math.min(1, x1 + x), Math.min(1, y1 + y)];
}

/**
 * The box in its picture's element, whose size `view` is: { left, top, width, height } in pixels, cut at
 * the element's edges and at least SMALLEST_PX large.
 */
export function boxIn(view, [x0, y0, x1, y1]) {
  const [left, width] = spanIn(view.width, x0 * view.width, x1 * view.width);
  const [top, height] = spanIn(view.height, y0 * view.height, y1 * view.height);
  return { left, top, width, height };
}

/** The part of `from` to `to` that lies in 0 to `size`, as [start, length]. */
function spanIn(size, from, to) {
  const start = Math.max(0, Math.min(from, size));
  const end = Math.max(0, Math.min(to, size));
  const length = Math.min(size, Math.max(SMALLEST_PX, end - start));
  const middle = (start + end) / 2;
  return [Math.max(0, Math.min(size - length, middle - length / 2)), length];
}

/**
 * The part of the picture in which the middle of the box lies: { column, row }, each -1 (left, top), 0
 * or 1. `before` is the box's last place, or null.
 */
export function placeOf([x0, y0, x1, y1], before = null) {
  return {
    column: sideOf((x0 + x1) / 2 - 0.5, before?.column ?? null),
    row: sideOf((y0 + y1) / 2 - 0.5, before?.row ?? null),
  };
}

function sideOf(offset, before) {
  const limit = (side) =>
    SIDE_FROM + (before === null ? 0 : side === before ? -1 : 1) * PLACE_SLACK;
  if (offset > limit(1)) return 1;
  if (offset < -limit(-1)) return -1;
  return 0;
}

/** How near the middle of the box is to the middle of the picture: 0 in a corner, 1 in the middle. */
export function nearnessOf([x0, y0, x1, y1]) {
  return Math.max(0, 1 - Math.hypot(x0 + x1 - 1, y0 + y1 - 1) / Math.SQRT2);
}
