// Text for screen readers, apart from the overlay: finished captions, with a pause between them, and
// changes of models.

import { setText } from "./dom.js";
import { changeAnnouncement } from "../words/models.js";

export const ANNOUNCE_GAP_MS = 7_000;

/** The announcement before the first one. */
export const NO_ANNOUNCEMENT = { text: "", at: -Infinity, caption: "", change: "" };

const NO_CAPTION = { text: "", finished: false };

export function mountAnnouncer(root) {
  let last = NO_ANNOUNCEMENT;
  return {
    update(state, at) {
      if (!state.visible) return;
      const caption = state.started ? state.caption : NO_CAPTION;
      last = nextAnnouncement(last, caption, changeAnnouncement(state, at), at);
      setText(root, last.text);
    },
    destroy() {
      setText(root, "");
    },
  };
}

/**
 * The announcement due at `at`; `last` again if there is nothing new or it is too soon.
 *
 * `last` is { text, at, caption, change }: the announced text, when, and the newest caption and change
 * announced so far. `caption` is the one on the screen ({ text, finished }). `change` is a sentence or
 * "" and is not delayed. A caption skipped for time is never announced late.
 */
export function nextAnnouncement(last, caption, change, at) {
  if (change !== last.change) {
    return change ? { ...last, text: change, at, change } : { ...last, change };
  }
  const text = caption.text.trim();
  if (!caption.finished || !text || text === last.caption) return last;
  return at - last.at < ANNOUNCE_GAP_MS ? last : { ...last, text, at, caption: text };
}
