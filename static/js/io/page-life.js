// When the page is left and comes back. A browser may keep a page that is left, with its captions, for
// "Back", but not one whose camera is on.

// Firefox (ESR 153) keeps no page whose camera was on until `pagehide`. `beforeunload` comes sooner, but
// also if the page then stays, as it does for a download.
const STAYING_MS = 3_000;

/**
 * Calls `onLeave()` when the page is left, `onReturn()` when it is there again, and
 * `onVisibility(isVisible)` when it is shown or hidden in between. `onReturn` resolves when the page
 * runs again.
 */
export function watchPage({ onLeave, onReturn, onVisibility }) {
  let isAway = false;
  let timer;

  function leave() {
    clearTimeout(timer);
    if (isAway) return;
    isAway = true;
    onLeave();
  }

  async function comeBack() {
    await onReturn();
    isAway = false;
  }

  window.addEventListener("beforeunload", () => {
    leave();
    timer = setTimeout(comeBack, STAYING_MS);
  });
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", ({ persisted }) => persisted && comeBack());
  document.addEventListener("visibilitychange", () => isAway || onVisibility(!document.hidden));
}
