// Which model answers, and whether it does.

import { setAttribute, setText } from "./dom.js";
import { serverLine } from "./words.js";

export function mountBadge(root) {
  const text = root.querySelector(".badge-text");
  return {
    update(state) {
      const line = serverLine(state);
      setAttribute(root, "data-tone", line.tone);
      setText(text, line.text);
    },
    destroy() {},
  };
}
