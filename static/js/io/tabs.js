// What tabs of this page tell each other: that they are there, and when each was last used.

const CHANNEL = "sightline.tabs";

/**
 * Returns { update(claim) }. `claim` is what the others are told of this tab, as in core/tabs.js; `onHeard(id,
 * claim)` is called with theirs, undefined for one that is closed; `onUsed()` with each use of this tab.
 */
export function createTabs(id, { onHeard, onUsed }) {
  let channel = null;
  let told = null;

  const tell = (fields = {}) => channel?.postMessage({ id, claim: told, ...fields });

  function open() {
    if (typeof BroadcastChannel === "undefined") return;
    channel = new BroadcastChannel(CHANNEL);
    channel.addEventListener("message", ({ data }) => {
      onHeard(data.id, data.isClosed ? undefined : data.claim);
      if (data.asks) tell();
    });
    tell({ asks: true });
  }

  // A browser keeps no page for "Back" whose channel is open.
  window.addEventListener("pagehide", () => {
    tell({ isClosed: true });
    channel?.close();
    channel = null;
  });
  window.addEventListener("pageshow", ({ persisted }) => persisted && open());
  window.addEventListener("focus", onUsed);
  for (const type of ["pointerdown", "keydown"]) {
    window.addEventListener(type, onUsed, { capture: true, passive: true });
  }
  open();

  return {
    update(claim) {
      if (claim === told) return;
      told = claim;
      tell();
    },
  };
}
