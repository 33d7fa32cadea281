// Finished captions for screen readers, apart from the words on the screen.

import { nextAnnouncement, silence } from "./announcements.js";
import { setText } from "./dom.js";

export function mountAnnouncer(root) {
  let last = silence;
  return {
    update({ caption, wanted, visible }, at) {
      if (!wanted || !visible) return;
      last = nextAnnouncement(last, caption, at);
      setText(root, last.text);
    },
    destroy() {
      setText(root, "");
    },
  };
}
