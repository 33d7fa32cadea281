// The panel that explains the moment in view: its segments, of which one is shown.

import { createElement, createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { stillOf } from "../core/view.js";
import { explainText } from "../words/explain.js";
import { mountLabels } from "./labels.js";
import { mountNumbers } from "./numbers.js";
import { mountExplained } from "./explained.js";
import { mountPatches } from "./patches.js";
import { mountSides } from "./sides.js";
import { mountWhere } from "./where.js";

/** The segments in order; each has a template of its name, whose root has that id. */
const SEGMENTS = [
  { name: "explained", label: "Words", mount: mountExplained },
  { name: "labels", label: "Labels", mount: mountLabels },
  { name: "where", label: "Where", mount: mountWhere },
  { name: "patches", label: "Patches", mount: mountPatches },
  { name: "sides", label: "Compare", mount: mountSides },
  { name: "numbers", label: "Numbers", mount: mountNumbers },
];

export function mountExplain(root, dispatch) {
  const find = (selector) => root.querySelector(selector);
  const [thumb, about, freeze] = [find(".ask-thumb"), find(".ask-about"), find("#explain-freeze")];
  const list = find("[role=tablist]");
  const tabs = SEGMENTS.map(({ name, label }) => {
    const tab = list.appendChild(createElement("button", "tab", label));
    Object.assign(tab, { id: `tab-${name}`, type: "button", role: "tab" });
    tab.setAttribute("aria-controls", name);
    return { name, tab, shown: find(`#${name}`) };
  });
  const components = SEGMENTS.map(({ name, mount }) => mount(find(`#${name}`), dispatch));
  const { listen, destroy } = createListeners();
  let picture = null;
  let url = null;
  let segment = null;

  const choose = (name) => dispatch({ type: "segment-chosen", segment: name });
  listen(freeze, "click", () => {
    dispatch({ type: "explain-asked" });
    find("[aria-selected=true]").focus();
  });
  for (const { name, tab } of tabs) listen(tab, "click", () => choose(name));
  listen(list, "keydown", (event) => {
    const index = tabs.findIndex(({ name }) => name === segment);
    const last = tabs.length - 1;
    const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    const { name, tab } = tabs.at(to % tabs.length);
    choose(name);
    tab.focus();
    event.preventDefault();
  });

  function showThumb(next) {
    if (url) URL.revokeObjectURL(url);
    picture = next;
    url = next ? URL.createObjectURL(next) : null;
    setProperty(thumb, "hidden", next === null);
    if (url) thumb.src = url;
    else thumb.removeAttribute("src");
  }

  return {
    update(state, at) {
      if (state.panel !== "explain") return;
      const still = stillOf(state);
      if ((still?.picture ?? null) !== picture) showThumb(still?.picture ?? null);
      setText(about, explainText(state, at));
      setProperty(freeze, "hidden", still !== null || state.view.freezing !== null);
      segment = state.view.segment;
      for (const { name, tab, shown } of tabs) {
        setAttribute(tab, "aria-selected", String(name === segment));
        setProperty(tab, "tabIndex", name === segment ? 0 : -1);
        setProperty(shown, "hidden", name !== segment);
      }
      for (const component of components) component.update(state);
    },
    destroy() {
      showThumb(null);
      for (const component of components) component.destroy();
      destroy();
    },
  };
}
