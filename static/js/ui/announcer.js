// Finished captions and news of models for screen readers, apart from the words on the screen.

import { setText } from "./dom.js";
import { changeNews } from "../words/models.js";

export const ANNOUNCE_GAP_MS = 7_000;

export const silence = { text: "", at: -Infinity, caption: "", news: "" };

const NO_CAPTION = { text: "", finished: false };

export function mountAnnouncer(root) {
  let last = silence;
  return {
    update(state, at) {
      if (!state.visible) return;
      const caption = state.wanted ? state.caption : NO_CAPTION;
      last = nextAnnouncement(last, caption, changeNews(state, at), at);
      setText(root, last.text);
    },
    destroy() {
      setText(root, "");
    },
  };
}

/**
 * The announcement due at `at`, or `last` again where there is nothing new or it is too soon.
 *
 * `last` is the one before: its `text`, when (`at`), and the `caption` and `news` told until then.
 * `caption` is what is on the screen ({ text, finished }) and `news` a sentence or "", which does not
 * wait for captions. Called again later it gives the newest caption, so that one skipped for time is
 * never read late.
 */
export function nextAnnouncement(last, caption, news, at) {
  if (news !== last.news) return news ? { ...last, text: news, at, news } : { ...last, news };
  const text = caption.text.trim();
  if (!caption.finished || !text || text === last.caption) return last;
  return at - last.at < ANNOUNCE_GAP_MS ? last : { ...last, text, at, caption: text };
}
