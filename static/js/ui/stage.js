// The video, the welcome text while it is off, and the controls, which fade out while captions run
// and there is no input.

import { createListeners, setAttribute, setProperty, setText } from "./dom.js";
import { noticeOf, welcomeOf } from "../words/page.js";

const IDLE_AFTER_MS = 5_000;
const NEVER_HIDDEN = "#model-card, #boxes, #marks";

export function mountStage(root) {
  const video = root.querySelector("#video");
  const welcome = root.querySelector("#welcome");
  const lead = welcome.querySelector(".welcome-lead");
  const loading = welcome.querySelector(".welcome-loading");
  const privacy = welcome.querySelector(".welcome-privacy");
  return {
    update(state, at) {
      const { camera, settings, started } = state;
      setAttribute(root, "data-live", started && camera.phase === "live" ? "" : null);
      setAttribute(video, "data-mirror", settings.mirror ? "" : null);
      setAttribute(video, "data-fit", settings.fit);
      setProperty(welcome, "hidden", started || noticeOf(state, at) !== null);
      const texts = welcomeOf(state, location.hostname);
      setText(lead, texts.lead);
      setText(privacy, texts.privacy);
      setText(loading, texts.loading);
    },
    destroy() {},
  };
}

/** Sets `data-idle` while the controls are to be faded out. */
export function mountIdle(root) {
  const { listen, destroy } = createListeners();
  let inputAt = performance.now();
  let idle = false;
  let wokenByPress = false;

  const wake = () => {
    inputAt = performance.now();
    show(false);
  };
  for (const type of ["pointermove", "keydown", "focusin", "wheel"])
    listen(window, type, wake, { passive: true });
  listen(window, "pointerdown", () => {
    wokenByPress = idle;
    wake();
  });
  // A tap that shows the controls again must not press one that was hidden.
  const stopHiddenPress = (event) => {
    if (!wokenByPress || event.target.closest(NEVER_HIDDEN)) return;
    wokenByPress = false;
    event.preventDefault();
    event.stopPropagation();
  };
  listen(root, "click", stopHiddenPress, { capture: true });

  function show(next) {
    idle = next;
    setAttribute(root, "data-idle", idle ? "" : null);
  }

  return {
    update(state, at) {
      const busy =
        !state.started || state.camera.phase !== "live" || state.panel || noticeOf(state, at);
      const inUse = root.querySelector(":focus-visible") !== null;
      show(!busy && !inUse && at - inputAt > IDLE_AFTER_MS);
    },
    destroy,
  };
}
