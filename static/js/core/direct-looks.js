// Looks at a source that needs no time to settle, unlike a camera (looks.js): a shared window, a video
// file, the sample. What it shows is what there is.

import { hasChanged } from "./difference.js";

/** Returns the functions of looks.js over the frames of io/frames.js. */
export function createDirectLooks(frames) {
  /** The thumbnail of the last captioned picture, or null. */
  let trusted = null;

  return {
    open() {
      trusted = null;
    },

    reopen() {},

    async take({ mustSend, capture, signal }) {
      const reference = mustSend ? null : trusted;
      const frame = await frames.capture({ ...capture, reference, signal });
      if (signal.aborted) return null;
      const isSame = trusted !== null && !hasChanged(trusted, frame.thumbnail);
      return { verdict: isSame ? "same" : "new", frame };
    },

    confirm: async () => true,

    captioned({ frame }) {
      trusted = frame.thumbnail;
    },
  };
}
