// The change gate: whether a frame differs from the last captioned one, despite camera noise. Pure
// functions over small colour thumbnails; grey ones would miss a red object that turns blue at the
// same brightness.

import { bandGains, unexplained } from "./light.js";

export const THUMBNAIL_WIDTH = 32;
export const THUMBNAIL_HEIGHT = 24;
const CHANNELS = 3;
const CELLS = THUMBNAIL_WIDTH * THUMBNAIL_HEIGHT;

// A cell is the mean of hundreds of pixels, so noise moves it by one or two levels of 255.
const CELL_CHANGED_LEVELS = 14;
// Automatic exposure shifts the whole image by a few levels; a light switched off shifts it by more.
const EXPOSURE_DRIFT_LEVELS = 12;
// The least of the darkening by bands that is lightening elsewhere, and the other way round.
const BAND_BALANCE = 0.3;
// 6 of 768 cells: about a thumb's width at arm's length.
const CHANGED_SHARE = 0.0075;

/**
 * Returns the thumbnail of RGBA pixels (`width` x `height`, 4 bytes each): a Float32Array of
 * THUMBNAIL_HEIGHT x THUMBNAIL_WIDTH x 3 mean levels of 0..255. The aspect ratio is not kept.
 */
export function thumbnailOf(rgba, width, height) {
  const thumbnail = new Float32Array(CELLS * CHANNELS);
  for (let row = 0; row < THUMBNAIL_HEIGHT; row += 1) {
    const [top, bottom] = span(row, THUMBNAIL_HEIGHT, height);
    for (let column = 0; column < THUMBNAIL_WIDTH; column += 1) {
      const [left, right] = span(column, THUMBNAIL_WIDTH, width);
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let y = top; y < bottom; y += 1) {
        for (let at = (y * width + left) * 4; at < (y * width + right) * 4; at += 4) {
          red += rgba[at];
          green += rgba[at + 1];
          blue += rgba[at + 2];
        }
      }
      const pixels = (bottom - top) * (right - left);
      const cell = (row * THUMBNAIL_WIDTH + column) * CHANNELS;
      thumbnail[cell] = red / pixels;
      thumbnail[cell + 1] = green / pixels;
      thumbnail[cell + 2] = blue / pixels;
    }
  }
  return thumbnail;
}

/** The pixel range of cell `index` of `cells` along a side; at least one pixel. */
function span(index, cells, side) {
  const from = Math.min(side - 1, Math.floor((index * side) / cells));
  return [from, Math.max(from + 1, Math.floor(((index + 1) * side) / cells))];
}

/**
 * The share (0..1) of cells that differ between two thumbnails, and that none of the changes of light
 * explains: exposure drift, bands over the rows, or bands over the columns (of a camera held upright).
 */
export function changedShare(before, after) {
  return Math.min(
    shareBeyondDrift(before, after),
    shareBeyondBands(before, after, BY_ROW, CELL_CHANGED_LEVELS),
    shareBeyondBands(before, after, BY_COLUMN, CELL_CHANGED_LEVELS),
  );
}

const rowIndex = (row, cell, channel) => (row * THUMBNAIL_WIDTH + cell) * CHANNELS + channel;
const BY_ROW = { lines: THUMBNAIL_HEIGHT, cells: THUMBNAIL_WIDTH, indexOf: rowIndex };
const BY_COLUMN = {
  lines: THUMBNAIL_WIDTH,
  cells: THUMBNAIL_HEIGHT,
  indexOf: (column, cell, channel) => rowIndex(cell, column, channel),
};

function shareBeyondDrift(before, after) {
  const drift = exposureDrift(before, after);
  let changed = 0;
  for (let cell = 0; cell < CELLS; cell += 1) {
    let most = 0;
    for (let channel = 0; channel < CHANNELS; channel += 1) {
      const at = cell * CHANNELS + channel;
      most = Math.max(most, Math.abs(after[at] - before[at] - drift));
    }
    if (most > CELL_CHANGED_LEVELS) changed += 1;
  }
  return changed / CELLS;
}

function shareBeyondBands(before, after, direction, levels, balance = 0) {
  const { lines, cells, indexOf } = direction;
  const gains = bandGains(before, after, direction, balance);
  let changed = 0;
  for (let line = 0; line < lines; line += 1) {
    for (let cell = 0; cell < cells; cell += 1) {
      let most = 0;
      for (let channel = 0; channel < CHANNELS; channel += 1) {
        const at = indexOf(line, cell, channel);
        most = Math.max(most, unexplained(before[at], after[at], gains[line * CHANNELS + channel]));
      }
      if (most > levels) changed += 1;
    }
  }
  return changed / CELLS;
}

/**
 * The share (0..1) of cells that differ by more than `levels`, except by bands that make some lines
 * darker and others lighter. Drifting exposure counts, also where the lighter half is clipped.
 */
export function unsteadyShare(before, after, levels) {
  return Math.min(
    shareBeyondBands(before, after, BY_ROW, levels, BAND_BALANCE),
    shareBeyondBands(before, after, BY_COLUMN, levels, BAND_BALANCE),
  );
}

/** Whether `after` differs enough from `before`, the last captioned thumbnail, for a new caption. */
export function hasChanged(before, after) {
  return changedShare(before, after) >= CHANGED_SHARE;
}

/** The median change of level if it is small enough to be automatic exposure, else 0. */
function exposureDrift(before, after) {
  const changes = after.map((level, at) => level - before[at]).sort();
  const median = changes[changes.length >> 1];
  return Math.abs(median) <= EXPOSURE_DRIFT_LEVELS ? median : 0;
}
