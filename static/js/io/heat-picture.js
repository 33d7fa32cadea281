// Maps as pictures.

/** One hue; the strength is its opacity. */
const HUE = [255, 84, 20];

/** Draws a map on `canvas`, a pixel for each cell of its grid; `strength` (0..1) is the opacity of its maximum. */
export function drawMap(canvas, { grid: [rows, columns], map }, strength) {
  canvas.width = columns;
  canvas.height = rows;
  const most = Math.max(...map, Number.MIN_VALUE);
  const pixels = map.flatMap((value) => [...HUE, Math.round((value / most) * strength * 255)]);
  const image = new ImageData(new Uint8ClampedArray(pixels), columns, rows);
  canvas.getContext("2d").putImageData(image, 0, 0);
}
