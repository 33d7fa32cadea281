// The figures of the last caption: time to the first word, rate, and age of its frame.

import { createElement, setText } from "./dom.js";
import { readoutOf } from "../words/page.js";

export function mountReadout(root) {
  function setPartCount(parts) {
    while (root.children.length > parts.length) root.lastElementChild.remove();
    while (root.children.length < parts.length) {
      const pair = createElement("div", "readout-part");
      pair.append(createElement("dt", ""), createElement("dd", ""));
      root.append(pair);
    }
  }

  return {
    update(state, at) {
      const parts = readoutOf(state, at);
      setPartCount(parts);
      parts.forEach(({ label, value }, index) => {
        const [term, figure] = root.children[index].children;
        setText(term, label);
        setText(figure, value);
      });
    },
    destroy() {
      root.replaceChildren();
    },
  };
}
