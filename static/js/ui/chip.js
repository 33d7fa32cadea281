// The chip over a corner of the picture: whether it is live, and how old the words are.

import { setAttribute, setProperty, setText } from "./dom.js";
import { chipOf } from "../words/page.js";

export function mountChip(root) {
  const text = root.querySelector(".chip-text");
  const time = root.querySelector(".chip-time");
  return {
    update(state, at) {
      const chip = chipOf(state, at);
      setProperty(root, "hidden", chip === null);
      if (!chip) return;
      setAttribute(root, "data-live", chip.isLive ? "" : null);
      setAttribute(root, "data-tone", chip.tone);
      setText(text, chip.text);
      setText(time, chip.time);
    },
    destroy() {},
  };
}
