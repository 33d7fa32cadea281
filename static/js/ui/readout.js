// What the captions cost and how old the frame is that they are of.

import { make, setText } from "./dom.js";
import { readoutOf } from "../words/page.js";

export function mountReadout(root) {
  function grow(parts) {
    while (root.children.length > parts.length) root.lastElementChild.remove();
    while (root.children.length < parts.length) {
      const pair = make("div", "readout-part");
      pair.append(make("dt", ""), make("dd", ""));
      root.append(pair);
    }
  }

  return {
    update(state, at) {
      const parts = readoutOf(state, at);
      grow(parts);
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
