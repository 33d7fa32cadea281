// Maps of what a word looked at: contours, and where they are hot. Pure. A map is a list of numbers for the cells of
// a grid [rows, columns], row by row from the top left corner; places are 0..1 of what the grid covers.

import { placeOf } from "./geometry.js";

/** A cell is hot from this share of the map's maximum on. */
const HOT = 0.5;
/** More hot cells than this share of all, or more separate places, point at nothing in particular. */
const MOST_HOT = 0.3;
const MOST_PLACES = 3;

/** The map as shares of its maximum; all 0 if that is 0. */
export function sharesOf(map) {
  const most = Math.max(...map);
  return map.map((value) => (most > 0 ? value / most : 0));
}

/**
 * The separate hot places of a map, the heaviest first: [{ x, y, weight }] with their middles; empty for a map that
 * points at nothing in particular.
 */
export function hotPlaces([rows, columns], map) {
  const shares = sharesOf(map);
  const left = new Set([...shares.keys()].filter((cell) => shares[cell] >= HOT));
  if (left.size > MOST_HOT * shares.length) return [];
  const places = [];
  while (left.size > 0) {
    const [first] = left;
    left.delete(first);
    const cells = [first];
    for (const cell of cells) {
      for (const next of neighboursOf(cell, rows, columns)) if (left.delete(next)) cells.push(next);
    }
    const weight = cells.reduce((sum, cell) => sum + shares[cell], 0);
    const mean = (valueOf) =>
      cells.reduce((sum, cell) => sum + shares[cell] * valueOf(cell), 0) / weight;
    const x = mean((cell) => ((cell % columns) + 0.5) / columns);
    const y = mean((cell) => (Math.floor(cell / columns) + 0.5) / rows);
    places.push({ x, y, weight });
  }
  if (places.length > MOST_PLACES) return [];
  return places.sort((one, other) => other.weight - one.weight);
}

/** The cells around one, also those at its corners. */
function neighboursOf(cell, rows, columns) {
  const [row, column] = [Math.floor(cell / columns), cell % columns];
  const around = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => [row + dy, column + dx]));
  return around
    .filter(([y, x]) => y >= 0 && y < rows && x >= 0 && x < columns)
    .map(([y, x]) => y * columns + x);
}

/** The part of the picture in which a place of a grid over `region`, null for all, is; as placeOf of geometry.js. */
export function placeIn(region, { x, y }) {
  const [x0, y0, x1, y1] = region ?? [0, 0, 1, 1];
  const [px, py] = [x0 + x * (x1 - x0), y0 + y * (y1 - y0)];
  return placeOf([px, py, px, py]);
}

/**
 * The contour of a map at `level` of its maximum, as straight pieces [x0, y0, x1, y1] (marching squares between the
 * middles of cells; beyond the outer ones the map is as there).
 */
export function contourOf([rows, columns], map, level = HOT) {
  const shares = sharesOf(map);
  if (!shares.some((share) => share > 0)) return [];
  const xs = [0, ...Array.from({ length: columns }, (_, at) => (at + 0.5) / columns), 1];
  const ys = [0, ...Array.from({ length: rows }, (_, at) => (at + 0.5) / rows), 1];
  const inner = (at, count) => Math.min(count - 1, Math.max(0, at - 1));
  const valueAt = (y, x) => shares[inner(y, rows) * columns + inner(x, columns)] - level;
  const pieces = [];
  for (let y = 0; y <= rows; y += 1) {
    for (let x = 0; x <= columns; x += 1) {
      const corners = [
        [xs[x], ys[y], valueAt(y, x)],
        [xs[x + 1], ys[y], valueAt(y, x + 1)],
        [xs[x + 1], ys[y + 1], valueAt(y + 1, x + 1)],
        [xs[x], ys[y + 1], valueAt(y + 1, x)],
      ];
      // Two crossings make a piece; four, of a saddle, make two.
      const crossings = corners.flatMap((one, at) => crossing(one, corners[(at + 1) % 4]));
      for (let at = 0; at + 1 < crossings.length; at += 2) {
        pieces.push([...crossings[at], ...crossings[at + 1]]);
      }
    }
  }
  return pieces;
}

function crossing([x0, y0, v0], [x1, y1, v1]) {
  if (v0 >= 0 === v1 >= 0) return [];
  const share = v0 / (v0 - v1);
  return [[x0 + share * (x1 - x0), y0 + share * (y1 - y0)]];
}
