// The badge with the model's name and state, and beside it where pictures go, if other servers run
// the model.

import { setAttribute, setProperty, setText } from "./dom.js";
import { destinationOf } from "../words/destination.js";
import { serverSummary } from "../words/page.js";

export function mountBadge(root) {
  const text = root.querySelector(".badge-text");
  return {
    update(state) {
      const summary = serverSummary(state);
      setAttribute(root, "data-tone", summary.tone);
      setText(text, summary.text);
    },
    destroy() {},
  };
}

export function mountDestination(root) {
  const text = root.querySelector(".destination-text");
  return {
    update(state) {
      const destination = destinationOf(state, location.hostname);
      setProperty(root, "hidden", destination === null);
      if (!destination) return;
      setAttribute(root, "data-leaves", destination.leaves ? "" : null);
      setText(text, destination.text);
    },
    destroy() {},
  };
}
