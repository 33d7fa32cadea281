// The edge between the picture and a panel beside it: dragged, or moved by arrow keys.

import { createListeners, setAttribute } from "./dom.js";
import { PANEL_WIDTHS } from "../core/settings.js";

const STEP_PX = 20;

export function mountPanelEdge(root, app, dispatch) {
  const { listen, destroy } = createListeners();
  const [low, high] = PANEL_WIDTHS;
  let width = null;
  setAttribute(root, "aria-valuemin", String(low));
  setAttribute(root, "aria-valuemax", String(high));

  function set(value) {
    const rounded = Math.round(Math.min(high, Math.max(low, value)));
    dispatch({ type: "setting-changed", name: "panelWidth", value: rounded });
  }

  listen(root, "pointerdown", (event) => {
    if (event.button !== 0) return;
    root.setPointerCapture(event.pointerId);
    event.preventDefault();
    root.focus();
  });
  listen(root, "pointermove", (event) => {
    if (!root.hasPointerCapture(event.pointerId)) return;
    set(app.getBoundingClientRect().right - event.clientX);
  });
  listen(root, "keydown", (event) => {
    const moves = { ArrowLeft: width + STEP_PX, ArrowRight: width - STEP_PX, Home: low, End: high };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey) return;
    set(moves[event.key]);
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    update({ settings }) {
      if (settings.panelWidth === width) return;
      width = settings.panelWidth;
      app.style.setProperty("--panel-width", `${width}px`);
      setAttribute(root, "aria-valuenow", String(width));
    },
    destroy,
  };
}
