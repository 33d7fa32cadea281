// The figures of the last caption: time to the first word, rate, and age of its frame.

import { createElement, createItems, setText } from "./dom.js";
import { readoutOf } from "../words/page.js";

export function mountReadout(root) {
  const pairs = createItems(root, () => {
    const pair = createElement("div", "readout-part");
    pair.append(createElement("dt", ""), createElement("dd", ""));
    return pair;
  });

  return {
    update(state, at) {
      const parts = readoutOf(state, at);
      const shown = pairs(parts.length);
      parts.forEach(({ label, value }, index) => {
        const [term, figure] = shown[index].children;
        setText(term, label);
        setText(figure, value);
      });
    },
    destroy() {
      root.replaceChildren();
    },
  };
}
