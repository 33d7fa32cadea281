// The field "Where is the …": the boxes are shown over the picture (patch-layer.js).

import { createItems, createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { studyHindrance, studyOf } from "../core/studies.js";
import { phraseProblem, whereTexts } from "../words/studies.js";
import { createRow, showRow } from "./patches.js";

export function mountWhere(root, dispatch) {
  const form = root.querySelector("form");
  const find = (name) => root.querySelector(`.where-${name}`);
  const [field, ask, clear, hint, note] = ["phrase", "ask", "clear", "hint", "note"].map(find);
  const rows = createItems(find("rows"), createRow);
  const { listen, destroy } = createListeners();
  let isAsked = false;
  let problem = "";

  listen(field, "input", () => show(""));
  listen(form, "submit", (event) => {
    event.preventDefault();
    if (isAsked) {
      dispatch({ type: "study-stopped" });
      return;
    }
    show(phraseProblem(field.value));
    const phrase = field.value.trim();
    if (!problem) dispatch({ type: "study-asked", kind: "where", ask: { phrase } });
  });
  listen(clear, "click", () => {
    dispatch({ type: "study-cleared", kind: "where" });
    field.value = "";
    field.focus();
  });

  function show(next) {
    problem = next;
    setAttribute(field, "aria-invalid", problem ? "true" : null);
    setText(hint, problem);
  }

  return {
    update(state) {
      isAsked = studyOf(state, "where")?.step === "asked";
      setText(ask, isAsked ? "Cancel" : "Find");
      setProperty(ask, "disabled", !isAsked && studyHindrance(state, "where") !== "none");
      const texts = whereTexts(state);
      setText(hint, problem || texts.hint);
      setText(note, texts.note);
      setProperty(clear, "hidden", !texts.isShown);
      rows(texts.rows.length).forEach((row, index) => showRow(row, texts.rows[index]));
    },
    destroy,
  };
}
