// Small services of the browser: stored settings, the wake lock, a random name, the operating system.

import { validSettings } from "../core/settings.js";

const STORAGE_KEY = "sightline.settings";

/**
 * The stored settings, or defaults if nothing valid is stored. `storage` is a function, because where
 * storage is forbidden, reading `window.localStorage` throws.
 */
export function loadSettings(storage) {
  try {
    return validSettings(JSON.parse(storage().getItem(STORAGE_KEY)));
  } catch {
    return validSettings(null);
  }
}

/**
 * Stores `changes`; another tab may have stored others meanwhile. Returns whether they are kept: storage may be
 * full, or forbidden as in some private windows.
 */
export function saveSettings(storage, changes) {
  try {
    const settings = { ...loadSettings(storage), ...changes };
    storage().setItem(STORAGE_KEY, JSON.stringify(settings));
    return true;
  } catch {
    return false;
  }
}

/** Calls `onChange` when another tab has stored settings. */
export function watchSettings(onChange) {
  window.addEventListener("storage", ({ key }) => {
    if (key === STORAGE_KEY) onChange();
  });
}

/** Returns { update(on) }, which keeps the screen on. The browser releases the lock of a hidden page. */
export function createWakeLock() {
  let on = false;
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
      // Refused, for example because of a low battery. Captions work without it.
    }
    pending = false;
    if (!on) release();
  }

  function release() {
    lock?.release();
    lock = null;
  }

  return {
    update(next) {
      if (next === on) return;
      on = next;
      if (on) acquire();
      else release();
    },
  };
}

/** A random name for this page, so that the server and other tabs can tell pages apart. */
export function newPageName() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

/** Parts of a browser's description and their systems; Android names Linux and iOS names Mac, too. */
const PLATFORMS = [
  [/android/i, "android"],
  [/iphone|ipad|ipod|\bios\b/i, "ios"],
  [/cros|chrome ?os/i, "chromeos"],
  [/windows|win32/i, "windows"],
  [/mac/i, "macos"],
  [/linux|x11/i, "linux"],
];

/** The operating system: android, ios, chromeos, windows, macos, linux, or "" if unknown. */
export function platformOf({ userAgentData, userAgent, maxTouchPoints }) {
  const described = `${userAgentData?.platform ?? ""} ${userAgent}`;
  const platform = PLATFORMS.find(([part]) => part.test(described))?.[1] ?? "";
  // An iPad calls itself a Mac, and Macs have no touch screens.
  return platform === "macos" && maxTouchPoints > 1 ? "ios" : platform;
}
