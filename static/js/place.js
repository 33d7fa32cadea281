// Beside the badge: where pictures go, as long as that is not the server of this page alone.

import { setAttribute, setProperty, setText } from "./dom.js";
import { placeOf } from "./place-words.js";

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
