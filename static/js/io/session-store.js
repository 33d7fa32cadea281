// Keeps the session for a reload of this tab, in the tab's own storage, which ends with the tab.

const KEY = "sightline.session";
const SAVE_EVERY_MS = 5_000;

/** The kept text, or null if there is none or storage is forbidden. `storage` is as in browser.js. */
export function loadSession(storage) {
  try {
    return storage().getItem(KEY);
  } catch {
    return null;
  }
}

/**
 * Returns { changed(), save() }: `changed` saves at most once in SAVE_EVERY_MS, `save` at once.
 * `textOf()` returns the text to keep, `onKept(isKept)` tells whether the last save succeeded.
 */
export function createSessionStore(storage, textOf, onKept) {
  let timer = null;

  function save() {
    clearTimeout(timer);
    timer = null;
    try {
      storage().setItem(KEY, textOf());
      onKept(true);
    } catch {
      // Storage is full or forbidden: the session lasts until the page is closed or reloaded.
      onKept(false);
    }
  }

  return {
    changed() {
      timer ??= setTimeout(save, SAVE_EVERY_MS);
    },
    save,
  };
}
