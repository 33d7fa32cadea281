// Full screen, and a kiosk (`?kiosk` in the address): the picture fills the window, and controls fade while
// nobody touches anything.

import { createListeners, setAttribute, setProperty } from "./dom.js";
import { noticeOf } from "../words/page.js";

const IDLE_AFTER_MS = 5_000;

/** `button` asks the browser for full screen; `isKiosk`: the page is laid out so from the start. */
export function mountFullScreen(app, button, isKiosk) {
  const { listen, destroy } = createListeners();
  let inputAt = performance.now();

  const wake = () => {
    inputAt = performance.now();
    setAttribute(app, "data-idle", null);
  };
  for (const type of ["pointermove", "pointerdown", "keydown", "focusin", "wheel"]) {
    listen(window, type, wake, { passive: true });
  }
  listen(button, "click", () => {
    if (document.fullscreenElement) document.exitFullscreen();
    // Refused, where a frame forbids it: the page stays as it is.
    else document.documentElement.requestFullscreen().catch(() => {});
  });
  setProperty(button, "hidden", !document.fullscreenEnabled);

  return {
    update(state, at) {
      const isFull = document.fullscreenElement !== null;
      setAttribute(app, "data-full", isFull || isKiosk ? "" : null);
      setAttribute(button, "aria-pressed", String(isFull));
      const isBusy = !state.started || state.camera.phase !== "live" || noticeOf(state, at);
      const isUsed = app.querySelector(".head :focus-visible, .dock :focus-visible") !== null;
      const isIdle = !isBusy && !isUsed && at - inputAt > IDLE_AFTER_MS;
      setAttribute(app, "data-idle", isIdle ? "" : null);
    },
    destroy,
  };
}
