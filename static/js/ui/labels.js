// A field for own labels, and a bar for each: how likely the model finds it in the still in view.

import { createItems, createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { isPinned } from "../core/gauges.js";
import { mayLabel, mayPin } from "../core/labels.js";
import { LABELS_TEXT_CHARS } from "../core/settings.js";
import { stillOf } from "../core/view.js";
import { labelsAnswer, labelsHint } from "../words/explain.js";
import { mountAspects } from "./aspects.js";
import { createBar, showBar } from "./bars.js";

export function mountLabels(root, dispatch) {
  const form = root.querySelector("form");
  const { labels, labelMode: modes, labelPair } = form.elements;
  const ask = form.querySelector("[type=submit]");
  const find = (name) => root.querySelector(`.labels-${name}`);
  const [hint, note, about] = [find("hint"), find("note"), find("about")];
  const [pin, unpin, pair] = [find("pin"), find("unpin"), find("pair-about")];
  const bars = createItems(find("bars"), createBar);
  const { listen, destroy } = createListeners();
  const aspects = mountAspects(root.querySelector("#aspects"), dispatch);
  let isAsked = false;

  labels.maxLength = LABELS_TEXT_CHARS;
  listen(form, "input", ({ target: { name, value, type, checked } }) => {
    dispatch({ type: "setting-changed", name, value: type === "checkbox" ? checked : value });
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
  listen(pin, "click", () => dispatch({ type: "labels-pinned" }));
  listen(unpin, "click", () => {
    dispatch({ type: "labels-unpinned" });
    pin.focus();
  });

  return {
    update(state) {
      const { settings } = state;
      setProperty(labels, "value", settings.labels);
      for (const mode of modes) setProperty(mode, "checked", mode.value === settings.labelMode);
      setProperty(labelPair, "checked", settings.labelPair);
      setProperty(pin, "disabled", !mayPin(state));
      setProperty(unpin, "hidden", !isPinned(state));
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
      bars(answer.bars.length).forEach((row, index) => {
        showBar(row, answer.bars[index], answer.pair?.names ?? null);
      });
      setText(pair, answer.pair?.about ?? "");
      aspects.update(state);
    },
    destroy() {
      aspects.destroy();
      destroy();
    },
  };
}
