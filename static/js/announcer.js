// Finished captions and news of models for screen readers, apart from the words on the screen.

import { nextAnnouncement, silence } from "./announcements.js";
import { setText } from "./dom.js";
import { changeNews } from "./model-words.js";

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
