// The caption over the picture, like subtitles. A caption that says the same as the last one touches
// nothing in the page; one that differs in a word touches that word.

import { nextWords } from "./caption-words.js";
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
