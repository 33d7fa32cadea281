// Which model answers and whether it does, and beside it where pictures go, if that is not the
// server of this page alone.

import { setAttribute, setProperty, setText } from "./dom.js";
import { placeOf } from "../words/destination.js";
import { serverLine } from "../words/page.js";

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

export function mountPlace(root) {
  const text = root.querySelector(".place-text");
  return {
    update(state) {
      const place = placeOf(state, location.hostname);
      setProperty(root, "hidden", place === null);
      if (!place) return;
      setAttribute(root, "data-leaves", place.leaves ? "" : null);
      setText(text, place.text);
    },
    destroy() {},
  };
}
