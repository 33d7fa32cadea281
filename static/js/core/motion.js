// Measures how far things moved between two small pictures, so that boxes follow between two answers
// of the detector. Pure functions. A picture is { width, height, luma, coarse }: brightness 0..255 for
// each pixel, and the same in cells of COARSE x COARSE pixels.

const COARSE = 4;
/** How far a thing is searched, in cells: 24 of 160 pixels on each side. */
const REACH_CELLS = 6;
/** The most points of a thing, on each side, that are compared. */
const POINTS = 12;
/** The part of a box, on each side, that is left out: it shows what is behind the thing. */
const RIM = 0.15;
/** A thing has moved only if it fits so much better elsewhere than where it was. */
const BETTER_BY = 0.8;

/** A cell of a still picture changes by one or two levels, through the camera's noise. */
const CELL_CHANGED_LEVELS = 14;

/** The picture of `luma`, a brightness for each pixel. */
export function pictureOf(luma, width, height) {
  return { width, height, luma, coarse: coarseOf(luma, width, height) };
}

/** Whether something has changed between two pictures, be it one cell. */
export function hasChanged(before, after) {
  const [one, other] = [before.coarse.luma, after.coarse.luma];
  const isChanged = (level, index) => Math.abs(level - other[index]) > CELL_CHANGED_LEVELS;
  return one.length !== other.length || one.some(isChanged);
}

function coarseOf(luma, width, height) {
  const columns = Math.max(1, Math.floor(width / COARSE));
  const rows = Math.max(1, Math.floor(height / COARSE));
  const cells = new Float32Array(columns * rows);
  for (let y = 0; y < rows * COARSE && y < height; y += 1) {
    for (let x = 0; x < columns * COARSE && x < width; x += 1) {
      const cell = Math.floor(y / COARSE) * columns + Math.floor(x / COARSE);
      cells[cell] += luma[y * width + x] / COARSE ** 2;
    }
  }
  return { width: columns, height: rows, luma: cells };
}

/** How far the thing in `box` has moved from `before` to `after`: [x, y] as parts of the picture. */
export function shiftOf(before, after, box) {
  const isComparable = before.width === after.width && before.height === after.height;
  if (!isComparable) return [0, 0];
  const start = bestShift(before.coarse, after.coarse, box, [0, 0], REACH_CELLS);
  const scaled = start.map((cells) => cells * COARSE);
  const [x, y] = bestShift(before, after, box, scaled, COARSE);
  const points = pointsIn(before, box);
  const still = difference(before, after, points, 0, 0);
  const moved = difference(before, after, points, x, y);
  return moved < still * BETTER_BY ? [x / before.width, y / before.height] : [0, 0];
}

/** The shift near `from`, in pixels, at which the thing in `box` is most alike. */
function bestShift(before, after, box, from, reach) {
  const points = pointsIn(before, box);
  let best = [0, 0];
  let least = difference(before, after, points, 0, 0);
  for (let y = from[1] - reach; y <= from[1] + reach; y += 1) {
    for (let x = from[0] - reach; x <= from[0] + reach; x += 1) {
      const found = difference(before, after, points, x, y);
      if (found < least) {
        least = found;
        best = [x, y];
      }
    }
  }
  return best;
}

/** Points within the box, evenly spread: [x, y] in whole pixels. */
function pointsIn({ width, height }, [x0, y0, x1, y1]) {
  const [columns, rows] = [spread(x0, x1, width), spread(y0, y1, height)];
  return rows.flatMap((y) => columns.map((x) => [x, y]));
}

function spread(from, to, size) {
  const rim = (to - from) * RIM;
  const [first, last] = [(from + rim) * size, (to - rim) * size];
  const count = Math.max(1, Math.min(POINTS, Math.round(last - first)));
  return Array.from({ length: count }, (_, index) => {
    const at = Math.floor(first + ((index + 0.5) * (last - first)) / count);
    return Math.min(size - 1, Math.max(0, at));
  });
}

/** The mean difference in brightness if the points are shifted; Infinity if half of them leave. */
function difference(before, after, points, dx, dy) {
  let sum = 0;
  let count = 0;
  for (const [x, y] of points) {
    const [toX, toY] = [x + dx, y + dy];
    if (toX < 0 || toY < 0 || toX >= after.width || toY >= after.height) continue;
    sum += Math.abs(before.luma[y * before.width + x] - after.luma[toY * after.width + toX]);
    count += 1;
  }
  return count * 2 > points.length ? sum / count : Infinity;
}
