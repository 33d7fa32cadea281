// Text for screen readers, apart from the overlay, in two live regions: finished captions and changes of
// models in one, messages about the camera and notices in the other, so that a caption that follows at
// once does not take a message's place.

import { createElement, isRewritten, setAttribute, setText } from "./dom.js";
import { spokenCaption } from "../words/boxes.js";
import { NO_MESSAGE, nextMessage } from "../words/messages.js";
import { changeAnnouncement } from "../words/models.js";

export const ANNOUNCE_GAP_MS = 7_000;

/** The announcement before the first one. */
export const NO_ANNOUNCEMENT = {
  text: "",
  lang: null,
  count: 0,
  at: -Infinity,
  id: null,
  caption: "",
  change: "",
};

const NO_CAPTION = { text: "", finished: false };
/** How long a translation is waited for. */
const TRANSLATION_MS = 2_500;
// Orca is silent if a text equals the one that it said before, from whatever region. With a no-break
// space at its end the text is another one, and sounds the same.
const NO_BREAK_SPACE = "\u00a0";

/** `captions` and `messages` are the live regions. */
export function mountAnnouncer(captions, messages) {
  const say = createVoice(captions.parentElement);
  let announcement = NO_ANNOUNCEMENT;
  let message = NO_MESSAGE;
  return {
    update(state, at) {
      if (state.visible) {
        const before = { announcement, message };
        const caption = state.started ? spokenCaption(state.caption) : NO_CAPTION;
        const change = changeAnnouncement(state, at);
        announcement = nextAnnouncement(announcement, caption, change, at);
        message = nextMessage(message, state, at);
        if (message.count > before.message.count) say.add(messages, message.text, null, at);
        if (announcement.count > before.announcement.count) {
          say.add(captions, announcement.text, announcement.lang, at);
        }
      }
      say.update(at);
    },
    destroy() {
      say.destroy();
      for (const region of [captions, messages]) setText(region, "");
    },
  };
}

/**
 * The announcement due at `at`; `last` with the same `count` if there is nothing new or it is too soon.
 *
 * `last` is { text, lang, count, at, id, caption, change }: the announced text with its language, how
 * many there were, when, and the newest caption and change announced so far. `caption` is the one on
 * the screen ({ text, finished, lang, id, isAnswer }). `change` is a sentence or "" and is not delayed,
 * nor is the answer to a question, also if it equals the caption before. A caption skipped for time is
 * announced later if it is still there.
 */
export function nextAnnouncement(last, caption, change, at) {
  if (change !== last.change) {
    return change ? announced(last, { text: change, lang: null, change }, at) : { ...last, change };
  }
  const text = caption.text.trim();
  if (!caption.finished || !text) return last;
  const { id = null, lang = null } = caption;
  const isNewAnswer = caption.isAnswer === true && id !== last.id;
  if (!isNewAnswer && (text === last.caption || at - last.at < ANNOUNCE_GAP_MS)) return last;
  return announced(last, { text, lang, id, caption: text }, at);
}

const announced = (last, next, at) => ({ ...last, ...next, at, count: last.count + 1 });

/**
 * Returns { add(region, text, lang, at), update(at), destroy() }, which writes texts to live regions.
 *
 * Beside a translator a text is first translated in an element that is not read, and then written once:
 * in the region it would be read in both languages.
 */
function createVoice(root) {
  const draft = createElement("p", "visually-hidden");
  setAttribute(draft, "aria-hidden", "true");
  root.append(draft);
  /** The texts to be written, the first one to be translated: { region, text, lang, until }. */
  const waiting = [];
  let lastSaid = "";

  function write(region, text, lang) {
    lastSaid = text === lastSaid ? `${text}${NO_BREAK_SPACE}` : text;
    setAttribute(region, "lang", lang);
    setText(region, lastSaid);
  }

  return {
    add(region, text, lang, at) {
      waiting.push({ region, text, lang, until: at + TRANSLATION_MS });
    },
    update(at) {
      while (waiting.length > 0) {
        const [{ region, text, lang, until }] = waiting;
        if (!isRewritten()) write(region, text, lang);
        else {
          setText(draft, text);
          const isTranslated = draft.textContent !== text;
          if (!isTranslated && at < until) return;
          write(region, draft.textContent, isTranslated ? null : lang);
        }
        waiting.shift();
      }
    },
    destroy() {
      draft.remove();
    },
  };
}
