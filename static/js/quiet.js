// While captions run and nobody touches anything, the controls step back from the picture.

import { createListeners, setAttribute } from "./dom.js";
import { noticeOf } from "./words.js";

const QUIET_AFTER_MS = 5_000;
const ALWAYS_SEEN = "#model-card";

export function mountQuiet(root) {
  const { listen, destroy } = createListeners();
  let touchedAt = performance.now();
  let quiet = false;
  let wokenByTouch = false;

  const wake = () => {
    touchedAt = performance.now();
    show(false);
  };
  for (const type of ["pointermove", "keydown", "focusin", "wheel"])
    listen(window, type, wake, { passive: true });
  listen(window, "pointerdown", () => {
    wokenByTouch = quiet;
    wake();
  });
  // The tap that brings the controls back must not press one that was out of sight.
  const swallow = (event) => {
    if (!wokenByTouch || event.target.closest(ALWAYS_SEEN)) return;
    wokenByTouch = false;
    event.preventDefault();
    event.stopPropagation();
  };
  listen(root, "click", swallow, { capture: true });

  function show(next) {
    quiet = next;
    setAttribute(root, "data-quiet", quiet ? "" : null);
  }

  return {
    update(state, at) {
      const busy =
        !state.wanted || state.camera.phase !== "live" || state.panel || noticeOf(state, at);
      const inUse = root.querySelector(":focus-visible") !== null;
      show(!busy && !inUse && at - touchedAt > QUIET_AFTER_MS);
    },
    destroy,
  };
}
