// What the page takes from the browser itself: memory for settings, the wake lock, and chance.

import { lawfulSettings } from "../core/settings.js";

const STORAGE_KEY = "sightline.settings";

/** Reads the remembered settings; a browser that keeps nothing (or keeps rubbish) gives defaults. */
export function rememberedSettings(storage) {
  try {
    return lawfulSettings(JSON.parse(storage().getItem(STORAGE_KEY)));
  } catch {
    return lawfulSettings(null);
  }
}

export function rememberSettings(storage, settings) {
  try {
    storage().setItem(STORAGE_KEY, JSON.stringify(settings));
  } catch {
    // Private windows and full or forbidden storage: the settings then last as long as the page.
  }
}

/** Keeps the screen on while captions run: { follow(wanted) }. The browser lets go by itself when the page is hidden. */
export function createWakeLock() {
  let wanted = false;
  let lock = null;
  let pending = false;

  async function acquire() {
    if (pending || lock || !navigator.wakeLock) return;
    pending = true;
    try {
      lock = await navigator.wakeLock.request("screen");
      lock.addEventListener("release", () => {
        lock = null;
      });
    } catch {
      // A low battery or a policy may forbid it; captions run all the same.
    }
    pending = false;
    if (!wanted) release();
  }

  function release() {
    lock?.release();
    lock = null;
  }

  return {
    follow(next) {
      if (next === wanted) return;
      wanted = next;
      if (wanted) acquire();
      else release();
    },
  };
}

/** Names this page to the server, so that its frames can be told from another page's. */
export function newCameraName() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
