// The picture and how it is shown, the greeting while there is none, and the controls, which step
// back from the picture while captions run and nobody touches anything.

import { createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { noticeOf, welcomeOf } from "../words/page.js";

const QUIET_AFTER_MS = 5_000;
const ALWAYS_SEEN = "#model-card";

export function mountStage(root) {
  const video = root.querySelector("#video");
  const welcome = root.querySelector("#welcome");
  const lead = welcome.querySelector(".welcome-lead");
  const loading = welcome.querySelector(".welcome-loading");
  const privacy = welcome.querySelector(".welcome-privacy");
  return {
    update(state, at) {
      const { camera, settings, wanted } = state;
      setAttribute(root, "data-live", wanted && camera.phase === "live" ? "" : null);
      setAttribute(video, "data-mirror", settings.mirror ? "" : null);
      setAttribute(video, "data-fit", settings.fit);
      setProperty(welcome, "hidden", wanted || noticeOf(state, at) !== null);
      const words = welcomeOf(state, location.hostname);
      setText(lead, words.lead);
      setText(privacy, words.privacy);
      setText(loading, words.loading);
    },
    destroy() {},
  };
}

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
