// Shrinking an image so that each of its pixels counts. What browsers offer differs: Firefox has no
// imageSmoothingQuality and reads one pixel in ten of 1280 for 192, and no filter of Chromium is an
// average either, so a shaking hand changes thin lines and letters from frame to frame.

/** The context of a canvas that is drawn to and read in memory, not on a GPU. */
export const contextOf = (canvas) =>
  canvas.getContext("2d", { alpha: false, willReadFrequently: true });

/**
 * Returns the ImageData of `size` of a part of `image`. `canvas` is drawn to; `part` is { left, top,
 * width, height } in whole pixels of the image, `size` { width, height } at most as large.
 */
export function shrink(canvas, image, part, size) {
  const { left, top, width, height } = part;
  const halvings = halvingsFor(part, size);
  let [w, h] = [width, height];
  if (halvings > 0) [w, h] = [half(w), half(h)];
  canvas.width = w;
  canvas.height = h;
  const context = contextOf(canvas);
  context.drawImage(image, left, top, width, height, 0, 0, w, h);
  for (let done = 1; done < halvings; done += 1) {
    const before = [w, h];
    [w, h] = [half(w), half(h)];
    context.drawImage(canvas, 0, 0, ...before, 0, 0, w, h);
  }
  const { data } = context.getImageData(0, 0, w, h);
  return new ImageData(areaAverage(data, w, h, size), size.width, size.height);
}

const half = (side) => Math.max(1, Math.round(side / 2));

/** At half the size drawImage averages 2 x 2 pixels, in any browser, and faster than a script. */
function halvingsFor(part, size) {
  const ratio = Math.min(part.width / size.width, part.height / size.height);
  return Math.max(0, Math.floor(Math.log2(ratio / 2)));
}

/**
 * Returns RGBA of `size` from RGBA pixels of `width` x `height`: each is the mean of the area that it
 * covers.
 */
export function areaAverage(rgba, width, height, size) {
  const columns = spansOf(width, size.width);
  const rows = spansOf(height, size.height);
  const averaged = new Uint8ClampedArray(size.width * size.height * 4).fill(255);
  const row = new Float32Array(size.width * 3);
  const sums = new Float32Array(size.width * 3);
  let summedRow = -1;
  for (let y = 0; y < size.height; y += 1) {
    sums.fill(0);
    const { from, weights } = rows[y];
    for (let i = 0; i < weights.length; i += 1) {
      // Two rows of the result may share one of the image.
      if (from + i !== summedRow) averageRow(rgba, (from + i) * width, columns, row);
      summedRow = from + i;
      for (let at = 0; at < sums.length; at += 1) sums[at] += row[at] * weights[i];
    }
    for (let x = 0; x < size.width; x += 1) {
      averaged.set(sums.subarray(3 * x, 3 * x + 3), (y * size.width + x) * 4);
    }
  }
  return averaged;
}

function averageRow(rgba, start, columns, row) {
  for (let x = 0; x < columns.length; x += 1) {
    const { from, weights } = columns[x];
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let i = 0; i < weights.length; i += 1) {
      const at = (start + from + i) * 4;
      red += rgba[at] * weights[i];
      green += rgba[at + 1] * weights[i];
      blue += rgba[at + 2] * weights[i];
    }
    row[3 * x] = red;
    row[3 * x + 1] = green;
    row[3 * x + 2] = blue;
  }
}

/** For each of `cells` along a side: the first pixel that it covers, and the share of each pixel. */
function spansOf(side, cells) {
  const covered = side / cells;
  return Array.from({ length: cells }, (_, cell) => {
    const [start, end] = [cell * covered, Math.min(side, (cell + 1) * covered)];
    const from = Math.floor(start);
    const weights = [];
    for (let pixel = from; pixel < end; pixel += 1) {
      weights.push((Math.min(end, pixel + 1) - Math.max(start, pixel)) / covered);
    }
    return { from, weights };
  });
}
