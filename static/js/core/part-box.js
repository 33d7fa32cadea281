// The box by which a part of a still is chosen with the arrow keys. Pure: a box is [x0, y0, x1, y1],
// 0..1 of the picture.

/** Keys move and size the box by an eighth of the picture. */
const STEP = 1 / 8;
/** A box that was drawn smaller than this was no box but a press. */
const SMALLEST = 1 / 32;

export const FIRST_BOX = [0.25, 0.25, 0.75, 0.75];

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The box after a key, or null if the key does nothing to it. `sizes`: Shift was held. */
export function boxAfterKey([x0, y0, x1, y1], key, sizes) {
  const direction = DIRECTIONS[key];
  if (!direction) return null;
  const [x, y] = direction.map((sign) => sign * STEP);
  if (sizes) return [x0, y0, clamp(x1 + x, x0 + STEP, 1), clamp(y1 + y, y0 + STEP, 1)];
  const [left, top] = [clamp(x0 + x, 0, 1 - (x1 - x0)), clamp(y0 + y, 0, 1 - (y1 - y0))];
  return [left, top, left + (x1 - x0), top + (y1 - y0)];
}

/** The box between two points of a drag, each [x, y], or null if it is too small to be meant. */
export function boxBetween([x, y], [u, v]) {
  const box = [Math.min(x, u), Math.min(y, v), Math.max(x, u), Math.max(y, v)];
  const [x0, y0, x1, y1] = box.map((side) => clamp(side, 0, 1));
  return x1 - x0 < SMALLEST || y1 - y0 < SMALLEST ? null : [x0, y0, x1, y1];
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
