// A field for own labels, and a bar for each: how likely the model finds it in the still in view.

import {
  createElement,
  createItems,
  createListeners,
  setAttribute,
  setProperty,
  setText,
} from "./dom.js";
import { mayLabel } from "../core/labels.js";
import { LABELS_TEXT_CHARS } from "../core/settings.js";
import { stillOf } from "../core/view.js";
import { labelsAnswer, labelsHint } from "../words/explain.js";
import { percentText } from "../words/sure.js";

export function mountLabels(root, dispatch) {
  const form = root.querySelector("form");
  const { labels, labelMode: modes } = form.elements;
  const ask = form.querySelector("[type=submit]");
  const find = (name) => root.querySelector(`.labels-${name}`);
  const [hint, note, about] = [find("hint"), find("note"), find("about")];
  const bars = createItems(find("bars"), bar);
  const { listen, destroy } = createListeners();
  let isAsked = false;

  labels.maxLength = LABELS_TEXT_CHARS;
  listen(form, "input", ({ target: { name, value } }) => {
    dispatch({ type: "setting-changed", name, value });
  });
  listen(form, "submit", (event) => {
    event.preventDefault();
    dispatch({ type: isAsked ? "labels-stopped" : "labels-asked" });
  });
  listen(labels, "keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    if (!isAsked) dispatch({ type: "labels-asked" });
  });

  return {
    update(state) {
      const { settings } = state;
      setProperty(labels, "value", settings.labels);
      for (const mode of modes) setProperty(mode, "checked", mode.value === settings.labelMode);
      isAsked = stillOf(state)?.labels?.step === "asked";
      // One button, so that the focus stays.
      setText(ask, isAsked ? "Cancel" : "Compare");
      setProperty(ask, "disabled", !isAsked && !mayLabel(state));
      const { text, isProblem } = labelsHint(state);
      setText(hint, text);
      setAttribute(labels, "aria-invalid", isProblem ? "true" : null);
      const answer = labelsAnswer(state);
      setText(note, answer.note);
      setText(about, answer.about);
      bars(answer.bars.length).forEach((row, index) => show(row, answer.bars[index]));
    },
    destroy,
  };
}

function bar() {
  const row = createElement("li", "bar");
  row.append(createElement("span", "bar-label"), createElement("span", "bar-value"));
  row.append(createElement("span", "bar-track"));
  row.lastElementChild.append(createElement("span", "bar-fill"));
  row.firstElementChild.dir = "auto";
  return row;
}

function show(row, { label, probability, isNone }) {
  const [name, value, track] = row.children;
  setText(name, label);
  setText(value, percentText(probability));
  setAttribute(row, "data-none", isNone ? "" : null);
  track.firstElementChild.style.setProperty("width", `${(probability * 100).toFixed(1)}%`);
}
