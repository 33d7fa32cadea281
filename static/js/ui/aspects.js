// The aspects of the still in view as groups of bars.

import { createElement, createItems, createListeners, setProperty, setText } from "./dom.js";
import { createBar, showBar } from "./bars.js";
import { studyHindrance, studyOf } from "../core/studies.js";
import { aspectsTexts } from "../words/studies.js";

export function mountAspects(root, dispatch) {
  const find = (name) => root.querySelector(`.aspects-${name}`);
  const [ask, hint, note, about] = ["ask", "hint", "note", "about"].map(find);
  const groups = createItems(find("groups"), () => {
    const group = createElement("li", "aspect");
    const bars = createElement("ul", "labels-bars");
    bars.setAttribute("role", "list");
    group.append(createElement("h3", "aspect-name"), bars);
    return group;
  });
  const items = new WeakMap();
  const { listen, destroy } = createListeners();
  let isAsked = false;

  listen(ask, "click", () => {
    dispatch(
      isAsked ? { type: "study-stopped" } : { type: "study-asked", kind: "aspects", ask: {} },
    );
  });

  return {
    update(state) {
      isAsked = studyOf(state, "aspects")?.step === "asked";
      setText(ask, isAsked ? "Cancel" : "Ask about its aspects");
      setProperty(ask, "disabled", !isAsked && studyHindrance(state, "aspects") !== "none");
      const texts = aspectsTexts(state);
      setText(hint, texts.hint);
      setText(note, texts.note);
      setText(about, texts.about);
      groups(texts.groups.length).forEach((group, index) => {
        const { name, bars } = texts.groups[index];
        const [heading, list] = group.children;
        setText(heading, name);
        list.setAttribute("aria-label", name);
        if (!items.has(list)) items.set(list, createItems(list, createBar));
        items
          .get(list)(bars.length)
          .forEach((row, at) => showBar(row, bars[at]));
      });
    },
    destroy,
  };
}
