// Looks at the camera until a picture can be believed, and once more after it was sent. Times are those
// of the frames (io/frame-clock.js), since a look tells something only of a frame that came later.

import {
  LOOK_GAP_MS,
  believed,
  confirm,
  confirmDelayMs,
  initialWatch,
  look,
  watchAgain,
} from "./settling.js";

/** Returns { open(), reopen(), take(options), confirm(picture, ...), captioned(picture) }. */
export function createLooks(frames) {
  let watch = initialWatch();

  return {
    /** Another camera was opened. */
    open() {
      watch = initialWatch();
    },

    /** The same camera sends pictures again. */
    reopen() {
      watch = watchAgain(watch);
    },

    /**
     * Resolves to { verdict, frame } for the next picture that can be believed: "same" (as the one
     * captioned last), "new" or "black"; null if `signal` was aborted. `frame` is that of
     * io/frames.js, captured with the options `capture`; of the same picture it has a blob only if
     * `mustSend`.
     */
    async take({ mustSend, capture, signal }) {
      let after;
      for (;;) {
        const reference = mustSend ? null : watch.trusted;
        const frame = await frames.capture({ ...capture, reference, after, signal });
        if (signal.aborted) return null;
        const { watch: next, verdict } = look(watch, frame.thumbnail, frame.time);
        watch = next;
        if (verdict !== "again") return { verdict, frame };
        after = laterThan(frame, LOOK_GAP_MS);
      }
    },

    /** Resolves to whether the next look bears out a new picture that was sent; null if aborted. */
    async confirm({ verdict, frame }, capture, signal) {
      if (verdict === "same") return true;
      const after = laterThan(frame, confirmDelayMs(watch));
      const options = { ...capture, reference: frame.thumbnail, after, signal };
      const { thumbnail, time } = await frames.capture(options);
      if (signal.aborted) return null;
      const { watch: next, isRefuted } = confirm(watch, thumbnail, time);
      watch = next;
      return !isRefuted;
    },

    /** The picture was captioned. */
    captioned({ frame }) {
      watch = believed(watch, frame.thumbnail);
    },
  };
}

const laterThan = ({ count, time }, ms) => ({ count, time: time + ms });
