// What the model sees of the still in view, and which of its patches are alike; they are shown over the picture
// (patch-layer.js).

import { createElement, createItems, createListeners, setProperty, setText } from "./dom.js";
import { studyHindrance, studyOf } from "../core/studies.js";
import { patchesTexts } from "../words/studies.js";

const MIDDLE = { x: 0.5, y: 0.5 };

export function mountPatches(root, dispatch) {
  const find = (name) => root.querySelector(`.patches-${name}`);
  const [ask, choose, hint, note] = ["ask", "choose", "hint", "note"].map(find);
  const rows = createItems(find("seen"), createRow);
  const { listen, destroy } = createListeners();
  let study = null;

  listen(ask, "click", () => {
    if (study?.step === "asked") dispatch({ type: "study-stopped" });
    else dispatch({ type: "study-asked", kind: "patches", ask: study?.ask ?? MIDDLE });
  });
  listen(choose, "click", () => document.getElementById("patch-grid").focus());

  return {
    update(state) {
      study = studyOf(state, "patches");
      const isAsked = study?.step === "asked";
      const isDone = Boolean(study?.found);
      setText(ask, isAsked ? "Cancel" : isDone ? "Show again" : "Show as the model sees it");
      setProperty(ask, "disabled", !isAsked && studyHindrance(state, "patches") !== "none");
      setProperty(choose, "hidden", !isDone);
      const texts = patchesTexts(state);
      setText(hint, texts.hint);
      // The sentence of a patch is told once its likenesses are there.
      if (!isAsked || !isDone) setText(note, texts.note);
      rows(texts.seen.length).forEach((row, index) => showRow(row, texts.seen[index]));
    },
    destroy,
  };
}

/** A row of a list of names and values. */
export function createRow() {
  const row = createElement("div", "numbers-row");
  row.append(createElement("dt", ""), createElement("dd", ""));
  return row;
}

export function showRow(row, { name, value }) {
  setText(row.children[0], name);
  setText(row.children[1], value);
}
