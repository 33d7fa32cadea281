// Keeps the screen on while captions run, where the browser can.

/** Returns { follow(wanted) }. The browser lets go by itself when the page is hidden. */
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
