// The patches of a picture: which of them are alike, and their outline. Pure. A grid is [rows, columns], a map has a
// number of 0 to 255 for each patch, row by row from the top left corner.

import { placeIn } from "./places.js";

/** From this on patches are alike: half of the way from unlike to the same. */
const ALIKE_FROM = 128;

/** The patch of a place in 0..1 of the picture, as an index. */
export function patchAt([rows, columns], { x, y }) {
  const cell = (share, count) => Math.max(0, Math.min(count - 1, Math.floor(share * count)));
  return cell(y, rows) * columns + cell(x, columns);
}

/** The middle of a patch, { x, y }. */
export function middleOf([rows, columns], index) {
  const [row, column] = [Math.floor(index / columns), index % columns];
  return { x: (column + 0.5) / columns, y: (row + 0.5) / rows };
}

/** The patch that a key leads to from another one, or null for any other key. On a mirrored picture left is right. */
export function patchAfterKey([rows, columns], index, key, isMirrored) {
  const [row, column] = [Math.floor(index / columns), index % columns];
  const right = isMirrored ? -1 : 1;
  const step = {
    ...{ ArrowRight: [0, right], ArrowLeft: [0, -right], ArrowDown: [1, 0], ArrowUp: [-1, 0] },
    ...{ Home: [0, -right * columns], End: [0, right * columns] },
    ...{ PageUp: [-rows, 0], PageDown: [rows, 0] },
  }[key];
  if (!step) return null;
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));
  return within(row + step[0], rows) * columns + within(column + step[1], columns);
}

/** The indices of the patches that are alike the chosen one, which is one of them. */
export const alikeOf = (map) => [...map.keys()].filter((index) => map[index] >= ALIKE_FROM);

/**
 * The parts of the picture in which most of the patches of `indices` lie, at most two, the fuller first: as placeOf of
 * geometry.js. `region` is what the grid covers, null for all.
 */
export function placesOf(grid, indices, region) {
  const counts = new Map();
  for (const index of indices) {
    const place = placeIn(region, middleOf(grid, index));
    const key = `${place.row} ${place.column}`;
    counts.set(key, { place, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  const sorted = [...counts.values()].sort((one, other) => other.count - one.count);
  const [most] = sorted;
  return sorted
    .filter(({ count }, at) => at < 2 && 2 * count >= most.count)
    .map(({ place }) => place);
}

/** The outline of the patches of `indices` as straight pieces [x0, y0, x1, y1] in 0..1. */
export function outlineOf([rows, columns], indices) {
  const inside = new Set(indices);
  const isIn = (row, column) =>
    row >= 0 && row < rows && column >= 0 && column < columns && inside.has(row * columns + column);
  return indices.flatMap((index) => {
    const [row, column] = [Math.floor(index / columns), index % columns];
    const [x0, y0, x1, y1] = [
      column / columns,
      row / rows,
      (column + 1) / columns,
      (row + 1) / rows,
    ];
    return [
      isIn(row - 1, column) ? [] : [[x0, y0, x1, y0]],
      isIn(row + 1, column) ? [] : [[x0, y1, x1, y1]],
      isIn(row, column - 1) ? [] : [[x0, y0, x0, y1]],
      isIn(row, column + 1) ? [] : [[x1, y0, x1, y1]],
    ].flat();
  });
}
