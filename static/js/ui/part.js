// The part of a still that the next question is about: drawn with the pointer or moved by keys.

import { createListeners, setAttribute, setProperty } from "./dom.js";
import { mirrored } from "../core/geometry.js";
import { FIRST_BOX, boxAfterKey, boxBetween } from "../core/part-box.js";
import { isMirrored } from "../core/source.js";
import { stillOf } from "../core/view.js";
import { regionText } from "../words/ask.js";

/** `picture` is the element that the still fills. Also returns { begin() }, which shows the box. */
export function mountPart(root, picture, dispatch) {
  const box = root.querySelector("#part-box");
  const { listen, destroy } = createListeners();
  let state = null;
  /** The box that is being chosen, as on the screen, or null. */
  let draft = null;
  let from = null;

  const mirror = (region) => (region && isMirrored(state) ? mirrored(region) : region);

  function show() {
    const still = state && stillOf(state);
    const region = still ? (draft ?? mirror(still.part)) : null;
    if (!still) draft = null;
    setProperty(root, "hidden", !region && !from);
    setProperty(box, "hidden", !region);
    if (!region) return;
    const [x0, y0, x1, y1] = region.map((side) => `${(side * 100).toFixed(2)}%`);
    box.style.setProperty("inset", `${y0} calc(100% - ${x1}) calc(100% - ${y1}) ${x0}`);
    setAttribute(box, "aria-label", `Part: ${regionText(region, false)}`);
  }

  function take(region) {
    draft = null;
    dispatch({ type: "part-chosen", region: mirror(region) });
    show();
  }

  const pointOf = ({ clientX, clientY }) => {
    const { left, top, width, height } = picture.getBoundingClientRect();
    return [(clientX - left) / width, (clientY - top) / height];
  };
  listen(picture, "pointerdown", (event) => {
    if (!stillOf(state) || event.button !== 0) return;
    from = pointOf(event);
    picture.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  listen(picture, "pointermove", (event) => {
    if (!from) return;
    draft = boxBetween(from, pointOf(event));
    show();
  });
  listen(picture, "pointerup", (event) => {
    if (!from) return;
    const region = boxBetween(from, pointOf(event));
    from = null;
    if (region) take(region);
    else show();
  });
  listen(picture, "pointercancel", () => {
    from = null;
    draft = null;
    show();
  });
  listen(box, "keydown", (event) => {
    const moved = boxAfterKey(draft ?? mirror(stillOf(state).part), event.key, event.shiftKey);
    if (moved) draft = moved;
    else if (event.key === "Enter") take(draft ?? mirror(stillOf(state).part));
    else if (event.key === "Escape") take(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
    show();
    if (event.key === "Enter" || event.key === "Escape") {
      document.getElementById("question-text").focus();
    }
  });

  return {
    begin() {
      draft = FIRST_BOX;
      show();
      box.focus();
    },
    update(next) {
      state = next;
      show();
    },
    destroy,
  };
}
