// Rolling light: lamps on the mains flicker, and a camera that reads its sensor line by line shows it
// as bands that roll through the picture. Pure functions over the thumbnails of difference.js.

// Bands of 25 % change a line by a factor between 0.75 and 1.33; a little more for the camera's curve.
const LOWEST_GAIN = -0.32;
const HIGHEST_GAIN = 0.47;
// If all lines change alike, the light was switched or dimmed: that is no band.
const LEAST_SPREAD = 0.5;

/**
 * The relative change of each line's light, and 0 for lines that did not change as light does.
 *
 * `before` and `after` are thumbnails. `direction` is { lines, cells, indexOf }: the number of lines,
 * of cells in a line, and the index of a level from (line, cell, channel). Returns a Float64Array of
 * lines x 3: the median change of each line and channel. With a `balance` of more than 0, lines must
 * change both ways, the one at least by this share of the other.
 */
export function bandGains(before, after, { lines, cells, indexOf }, balance = 0) {
  const gains = new Float64Array(lines * 3);
  for (let channel = 0; channel < 3; channel += 1) {
    const ofLine = new Float64Array(lines);
    for (let line = 0; line < lines; line += 1) {
      ofLine[line] = lineGain(before, after, cells, (cell) => indexOf(line, cell, channel));
    }
    if (!areBands(ofLine.slice().sort(), balance)) continue;
    for (let line = 0; line < lines; line += 1) {
      const gain = ofLine[line];
      if (gain >= LOWEST_GAIN && gain <= HIGHEST_GAIN) gains[line * 3 + channel] = gain;
    }
  }
  return gains;
}

function areBands(sorted, balance) {
  const [least, most] = [sorted[0], sorted[sorted.length - 1]];
  const isBalanced = most >= -balance * least && -least >= balance * most;
  if (balance > 0 && !isBalanced) return false;
  return most - least >= LEAST_SPREAD * Math.abs(sorted[sorted.length >> 1]);
}

/** The median relative change of the levels at `indexOf(cell)`. */
function lineGain(before, after, cells, indexOf) {
  const changes = new Float64Array(cells);
  for (let cell = 0; cell < cells; cell += 1) {
    const index = indexOf(cell);
    changes[cell] = (after[index] - before[index]) / (before[index] + 1);
  }
  return changes.sort()[cells >> 1];
}

/**
 * How far a level's change is from what a change of light by `gain` explains. Any part of it counts as
 * explained, since dark and clipped levels follow the light less.
 */
export function unexplained(before, after, gain) {
  const change = after - before;
  const light = gain * (before + 1);
  if (light < 0) return Math.max(change, light - change, 0);
  return Math.max(-change, change - light, 0);
}
