// Heat over a still: what the chosen word looked at.

import { setAttribute, setProperty } from "./dom.js";
import { heatInView } from "../core/explained.js";
import { contourOf } from "../core/heat.js";
import { mirrored } from "../core/geometry.js";
import { isMirrored } from "../core/source.js";
import { drawMap } from "../io/heat-picture.js";

/** Words over the picture give way to the heat; they stand in the panel, too. */
export function mountHeat(root, stage) {
  const [canvas, lines] = root.children;
  const [grid, ground, contour] = lines.children;
  let shown = "";

  /** `region` is where the grid lies on the screen, null for all of the picture. */
  function draw({ grid: [rows, columns], map }, region, { heat: strength, heatGrid }) {
    const key = JSON.stringify([map, rows, region, strength, heatGrid]);
    if (key === shown) return;
    shown = key;
    drawMap(canvas, { grid: [rows, columns], map }, strength);
    const [x0, y0, x1, y1] = region ?? [0, 0, 1, 1];
    root.style.setProperty(
      "inset",
      [y0, 1 - x1, 1 - y1, x0].map((one) => `${one * 100}%`).join(" "),
    );
    const pieces = contourOf([rows, columns], map);
    const path = pieces.map(([ax, ay, bx, by]) => `M${ax} ${ay}L${bx} ${by}`).join("");
    for (const one of [ground, contour]) setAttribute(one, "d", path);
    setAttribute(grid, "d", heatGrid ? cellLines(rows, columns) : "");
  }

  return {
    update(state) {
      const heat = heatInView(state);
      setProperty(root, "hidden", heat === null);
      setAttribute(stage, "data-heat", heat ? "" : null);
      const mirrors = isMirrored(state);
      setAttribute(root, "data-mirror", mirrors ? "" : null);
      if (!heat) return;
      const { region } = heat;
      draw(heat, region && mirrors ? mirrored(region) : region, state.settings);
    },
    destroy() {},
  };
}

function cellLines(rows, columns) {
  const down = Array.from({ length: columns + 1 }, (_, at) => `M${at / columns} 0V1`);
  const across = Array.from({ length: rows + 1 }, (_, at) => `M0 ${at / rows}H1`);
  return [...down, ...across].join("");
}
