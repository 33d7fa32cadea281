// Over the still in view: the grid of its patches with those that are alike, and the boxes of a thing that was looked
// for. The grid takes the pointer and the arrow keys; what it shows is said in the panel.

import {
  createElement,
  createItems,
  createListeners,
  setAttribute,
  setProperty,
  setText,
} from "./dom.js";
import { mirrored } from "../core/geometry.js";
import { alikeOf, middleOf, outlineOf, patchAfterKey, patchAt } from "../core/patches.js";
import { boxInPicture } from "../core/places.js";
import { isMirrored } from "../core/source.js";
import { studyOf } from "../core/studies.js";
import { regionOf } from "../core/thread.js";
import { percentText } from "../words/sure.js";
import { patchText } from "../words/studies.js";

/** Of the most alike patch, 0..255. */
const STRONGEST = 190;
const HUE = [111, 220, 196];

/** Words over the picture give way to them. */
export function mountPatchLayer(root, stage, dispatch) {
  const grid = root.querySelector("#patch-grid");
  const canvas = grid.querySelector("canvas");
  const [lines, ground, outline, chosen] = grid.querySelectorAll("path");
  const boxes = createItems(root.querySelector(".where-boxes"), () => {
    const box = createElement("div", "where-box");
    box.append(createElement("span", "box-name"));
    return box;
  });
  const { listen, destroy } = createListeners();
  let state = null;
  let study = null;
  let drawn = "";
  /** A patch that is asked next, since the one in flight is answered first. */
  let next = null;

  const cells = () => study.found.grid;

  function choose(index) {
    next = null;
    if (study.step === "asked") next = index;
    else dispatch({ type: "study-asked", kind: "patches", ask: middleOf(cells(), index) });
  }

  listen(grid, "pointerdown", (event) => {
    if (event.button !== 0) return;
    const { left, top, width, height } = grid.getBoundingClientRect();
    const [across, y] = [(event.clientX - left) / width, (event.clientY - top) / height];
    choose(patchAt(cells(), { x: isMirrored(state) ? 1 - across : across, y }));
    // The picture below would begin the choice of a part.
    event.stopPropagation();
  });
  listen(grid, "keydown", (event) => {
    if (event.key === "Escape") document.querySelector(".patches-choose").focus();
    else {
      const from = next ?? patchAt(cells(), study.ask);
      const index = patchAfterKey(cells(), from, event.key, isMirrored(state));
      if (index === null) return;
      choose(index);
    }
    event.preventDefault();
    event.stopPropagation();
  });

  function place(element, region, isShownMirrored) {
    const [x0, y0, x1, y1] = isShownMirrored ? mirrored(region) : region;
    const sides = [y0, 1 - x1, 1 - y1, x0].map((side) => `${(side * 100).toFixed(3)}%`);
    element.style.setProperty("inset", sides.join(" "));
  }

  function draw() {
    const { found, ask, part } = study;
    const key = JSON.stringify([found, ask, part]);
    if (key === drawn) return;
    drawn = key;
    const [rows, columns] = found.grid;
    canvas.width = columns;
    canvas.height = rows;
    const pixels = found.map.flatMap((value) => [...HUE, Math.round((value / 255) * STRONGEST)]);
    const image = new ImageData(new Uint8ClampedArray(pixels), columns, rows);
    canvas.getContext("2d").putImageData(image, 0, 0);
    const alike = pathOf(outlineOf(found.grid, alikeOf(found.map)));
    for (const path of [ground, outline]) setAttribute(path, "d", alike);
    setAttribute(chosen, "d", pathOf(outlineOf(found.grid, [patchAt(found.grid, ask)])));
    setAttribute(lines, "d", cellLines(rows, columns));
  }

  function showGrid() {
    const isShown = state.view.segment === "patches" && Boolean(study?.found);
    setProperty(grid, "hidden", !isShown);
    if (!isShown) {
      next = null;
      return false;
    }
    const region = regionOf(study) ?? [0, 0, 1, 1];
    place(grid, region, isMirrored(state));
    for (const layer of [canvas, canvas.nextElementSibling]) {
      setAttribute(layer, "data-mirror", isMirrored(state) ? "" : null);
    }
    draw();
    const index = next ?? patchAt(cells(), study.ask);
    setAttribute(grid, "aria-label", `Patch in ${patchText(state, cells(), index)}`);
    if (study.step === "done" && next !== null) queueMicrotask(() => next !== null && choose(next));
    return true;
  }

  function showBoxes() {
    const where = studyOf(state, "where");
    const isShown = state.view.segment === "where" && where?.step === "done";
    const found = isShown ? where.found.boxes : [];
    boxes(found.length).forEach((box, index) => {
      const region = boxInPicture(regionOf(where), found[index].box);
      place(box, region, isMirrored(state));
      const number = found.length > 1 ? `${index + 1} · ` : "";
      setText(box.firstElementChild, `${number}${percentText(found[index].score)}`);
      setAttribute(box, "data-inside", region[1] < 0.12 ? "" : null);
    });
    return found.length > 0;
  }

  return {
    update(given) {
      state = given;
      study = studyOf(state, "patches");
      const isOpen = state.panel === "explain";
      const [hasGrid, hasBoxes] = isOpen ? [showGrid(), showBoxes()] : [false, false];
      setProperty(root, "hidden", !hasGrid && !hasBoxes);
      setAttribute(stage, "data-patches", hasGrid || hasBoxes ? "" : null);
    },
    destroy,
  };
}

const pathOf = (pieces) => pieces.map(([x0, y0, x1, y1]) => `M${x0} ${y0}L${x1} ${y1}`).join("");

function cellLines(rows, columns) {
  const down = Array.from({ length: columns + 1 }, (_, at) => `M${at / columns} 0V1`);
  const across = Array.from({ length: rows + 1 }, (_, at) => `M0 ${at / rows}H1`);
  return [...down, ...across].join("");
}
