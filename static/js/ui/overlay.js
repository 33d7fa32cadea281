// The caption over the video, like subtitles. Only words that differ from the last caption change in
// the document.

import { createElement, setAttribute } from "./dom.js";

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
      touched = setWord(word, index) || touched;
    });
    while (caption.children.length > words.length) {
      caption.lastElementChild.remove();
      touched = true;
    }
    if (touched) shrinkToFit();
  }

  /** Shows `word` in the span at `index`; returns whether its text changed. */
  function setWord(word, index) {
    const stale = word.stale ? "" : null;
    const span = caption.children[index];
    if (!span) {
      const added = createElement("span", "overlay-word", word.text);
      setAttribute(added, "data-stale", stale);
      caption.append(added);
      return true;
    }
    setAttribute(span, "data-stale", stale);
    if (span.textContent === word.text) return false;
    span.textContent = word.text;
    return true;
  }

  /** Long captions get a smaller font, down to a limit; beyond it the first lines scroll away. */
  function shrinkToFit() {
    while (fit < SMALLEST_FIT && overflows()) setFit(fit + 1);
  }

  function refit() {
    setFit(0);
    shrinkToFit();
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

/** The words of `text`, each but the first with a leading space, so that joined they give the text. */
function splitWords(text) {
  const words = text.trim().split(/\s+/).filter(Boolean);
  return words.map((word, index) => (index === 0 ? word : ` ${word}`));
}

/**
 * The words to show, [{ text, stale }], if `shown` is on the screen and `text` has arrived so far.
 *
 * Equal words stay. Until the caption is `finished`, the old caption's words stay after the newest one;
 * they are stale once the captions differ, and removed when the new one is finished. An incomplete
 * word that is the start of the old word at its position counts as that word.
 */
function nextWords(shown, text, finished) {
  const fresh = splitWords(text);
  const newest = fresh.length - 1;
  const isIncomplete = !finished && !/\s$/.test(text);
  let differs = false;
  const words = fresh.map((word, index) => {
    const before = shown[index];
    if (index === newest && isIncomplete && before?.text.startsWith(word)) return before;
    differs ||= before !== undefined && before.text !== word;
    return { text: word, stale: false };
  });
  if (finished) return words;
  const rest = shown.slice(fresh.length);
  return [
    ...words,
    ...rest.map(({ text: old, stale }) => ({ text: old, stale: stale || differs })),
  ];
}
