// The live regions, by which screen readers are told.

import { createElement, isRewritten, setAttribute, setText } from "./dom.js";

/** How long a message stays, so that nobody comes upon an old one, and at least if another one waits. */
const STAYS_MS = 5_000;
const STAYS_AT_LEAST_MS = 50;
/** How long a region is empty between two messages: Firefox may join two changes of one frame. */
const EMPTY_MS = 30;
/** How long a translation is waited for. */
const TRANSLATION_MS = 2_500;
const TRANSLATION_STEP_MS = 100;
// Orca is silent if a text equals the one that it said before, from whatever region. With a no-break
// space at its end the text is another one, and sounds the same.
const NO_BREAK_SPACE = "\u00a0";

/**
 * Returns { write(kind, text, lang), destroy() }. `regions` are the elements by the kind of message:
 * { caption, answer, alert, news }; two kinds may share one.
 *
 * Browsers tell of no text that a region has already, so each message is a new element, and comes some
 * frames after the region was emptied.
 */
export function createRegions(regions) {
  const draft = createElement("p", "visually-hidden");
  setAttribute(draft, "aria-hidden", "true");
  regions.news.parentElement.append(draft);
  /** By region: the messages that wait ([{ text, lang }]), the timer of the next change, the last filling. */
  const states = new Map(
    Object.values(regions).map((region) => [region, { queue: [], timer: null, filledAt: 0 }]),
  );
  let lastText = "";
  let translating = Promise.resolve();

  /** Resolves to the text and its language, translated if a translator rewrites the page. */
  async function translated(text, lang) {
    if (!isRewritten()) return { text, lang };
    setText(draft, text);
    for (let waited = 0; waited < TRANSLATION_MS; waited += TRANSLATION_STEP_MS) {
      if (draft.textContent !== text) return { text: draft.textContent, lang: null };
      await new Promise((resolve) => setTimeout(resolve, TRANSLATION_STEP_MS));
    }
    return { text, lang };
  }

  function add(region, message) {
    const { queue, timer, filledAt } = states.get(region);
    queue.push(message);
    const isFull = region.childElementCount > 0;
    const stillMs = filledAt + STAYS_AT_LEAST_MS - performance.now();
    if (isFull) schedule(region, Math.max(0, stillMs));
    else if (timer === null) change(region);
  }

  function schedule(region, ms) {
    const own = states.get(region);
    clearTimeout(own.timer);
    own.timer = setTimeout(() => change(region), ms);
  }

  /** Empties the region, or fills it with the next message. */
  function change(region) {
    const own = states.get(region);
    own.timer = null;
    if (region.childElementCount > 0) {
      region.replaceChildren();
      schedule(region, EMPTY_MS);
      return;
    }
    const message = own.queue.shift();
    if (!message) return;
    lastText = message.text === lastText ? `${message.text}${NO_BREAK_SPACE}` : message.text;
    const element = createElement("span", "", lastText);
    setAttribute(element, "lang", message.lang || null);
    region.append(element);
    own.filledAt = performance.now();
    schedule(region, own.queue.length > 0 ? STAYS_AT_LEAST_MS : STAYS_MS);
  }

  return {
    write(kind, text, lang) {
      if (!isRewritten()) {
        add(regions[kind], { text, lang });
        return;
      }
      translating = translating.then(async () => add(regions[kind], await translated(text, lang)));
    },
    destroy() {
      draft.remove();
      for (const [region, { timer }] of states) {
        clearTimeout(timer);
        region.replaceChildren();
      }
    },
  };
}
