// The caption over the picture, like subtitles. A caption that says the same as the last one touches
// nothing in the page; one that differs in a word touches that word.

import { make, setAttribute } from "./dom.js";

const SMALLEST_FIT = 2;

export function mountOverlay(root) {
  const caption = root.querySelector("#caption");
  const block = root.querySelector(".overlay-text");
  let shown = [];
  let fit = 0;
  let scale = null;

  let width = 0;
  const resized = new ResizeObserver(([{ contentRect }]) => {
    if (contentRect.width === width) return;
    width = contentRect.width;
    refit();
  });
  resized.observe(root.parentElement);

  function show(words) {
    const before = shown;
    shown = words;
    let touched = false;
    words.forEach((word, index) => {
      if (word === before[index]) return;
      touched = place(word, index) || touched;
    });
    while (caption.children.length > words.length) {
      caption.lastElementChild.remove();
      touched = true;
    }
    if (touched) keepToLines();
  }

  /** Makes the span at `index` show `word`; tells whether anything had to change. */
  function place(word, index) {
    const stale = word.stale ? "" : null;
    const span = caption.children[index];
    if (!span) {
      const made = make("span", "overlay-word", word.text);
      setAttribute(made, "data-stale", stale);
      caption.append(made);
      return true;
    }
    setAttribute(span, "data-stale", stale);
    if (span.textContent === word.text) return false;
    span.textContent = word.text;
    return true;
  }

  /** Long captions get smaller letters, down to a limit; past it the first lines roll away. */
  function keepToLines() {
    while (fit < SMALLEST_FIT && overflows()) setFit(fit + 1);
  }

  function refit() {
    setFit(0);
    keepToLines();
  }

  function overflows() {
    return block.offsetHeight > root.clientHeight + 1;
  }

  function setFit(next) {
    fit = next;
    setAttribute(root, "data-fit", fit === 0 ? null : String(fit));
  }

  return {
    update({ caption: { text, finished }, settings, server }) {
      setAttribute(root, "data-old", server.phase === "ready" ? null : "");
      if (settings.captionScale !== scale) {
        scale = settings.captionScale;
        root.style.setProperty("--caption-scale", String(scale));
        refit();
      }
      const words = nextWords(shown, text, finished);
      const same =
        words.length === shown.length && words.every((word, i) => sameWord(word, shown[i]));
      if (same) return;
      show(words);
      if (finished) refit();
    },
    destroy() {
      resized.disconnect();
      caption.replaceChildren();
    },
  };
}

const sameWord = (one, other) => one.text === other.text && one.stale === other.stale;

/** Splits into words, each but the first with the space before it, so that joined they give the text. */
export function splitWords(text) {
  const words = text.trim().split(/\s+/).filter(Boolean);
  return words.map((word, index) => (index === 0 ? word : ` ${word}`));
}

/**
 * The words to show, [{ text, stale }], when `shown` is on the screen and `text` has come so far.
 *
 * Words already there stay. While the caption is not `finished`, what follows the newest word is still
 * the old caption's; it is stale once the two have parted, and goes when the caption is finished. A
 * word cut off midway that the old one at its place completes counts as that word.
 */
export function nextWords(shown, text, finished) {
  const fresh = splitWords(text);
  const newest = fresh.length - 1;
  const cutOff = !finished && !/\s$/.test(text);
  let parted = false;
  const words = fresh.map((word, index) => {
    const before = shown[index];
    if (index === newest && cutOff && before?.text.startsWith(word)) return before;
    parted ||= before !== undefined && before.text !== word;
    return { text: word, stale: false };
  });
  if (finished) return words;
  const rest = shown.slice(fresh.length);
  return [...words, ...rest.map(({ text: old, stale }) => ({ text: old, stale: stale || parted }))];
}
