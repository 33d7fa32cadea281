// The caption over the video, like subtitles. Only words that differ from the last caption change in
// the document. If a translator rewrites the page's texts, a caption is one text, written once when it
// is finished: single words cannot be translated, and each new text costs a translation.

import {
  createElement,
  isRewritten,
  noteRewriting,
  setAttribute,
  setLanguage,
  setText,
} from "./dom.js";
import { cameraNotice } from "../words/camera.js";

const SMALLEST_FIT = 2;

export function mountOverlay(root) {
  const caption = root.querySelector("#caption");
  const block = root.querySelector(".overlay-text");
  /** The words on the screen, { text, stale }, and the element of each. */
  let shown = [];
  const spans = [];
  /** The element of a caption that is one text, or null. */
  let whole = null;
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
    while (spans.length > words.length) {
      spans.pop().remove();
      touched = true;
    }
    if (touched) shrinkToFit();
  }

  function showWords(text, finished) {
    if (whole) clear();
    const words = nextWords(shown, text, finished);
    const same =
      words.length === shown.length && words.every((word, i) => sameWord(word, shown[i]));
    noteRewriting(caption, joined(shown.map((word) => word.text)));
    if (same) return;
    show(words);
    if (finished) refit();
  }

  function showWhole(text, finished) {
    if (!finished) return;
    if (!whole) {
      clear();
      whole = caption.appendChild(createElement("span", ""));
    }
    if (setText(whole, joined(splitWords(text)))) refit();
    // A translation may be longer.
    else shrinkToFit();
  }

  function clear() {
    caption.replaceChildren();
    shown = [];
    spans.length = 0;
    whole = null;
  }

  /** Shows `word` in the span at `index`; returns whether its text changed. */
  function setWord(word, index) {
    const isNew = index === spans.length;
    if (isNew) {
      spans.push(createElement("span", "overlay-word", word.text));
      caption.append(spans[index]);
    }
    setAttribute(spans[index], "data-stale", word.stale ? "" : null);
    return setText(spans[index], word.text) || isNew;
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
    update(state, at) {
      const { settings, server } = state;
      const { text, finished, lang } = state.caption;
      const isCurrent = server.phase === "ready" && cameraNotice(state, at) === null;
      setAttribute(root, "data-old", isCurrent ? null : "");
      if (settings.captionScale !== scale) {
        scale = settings.captionScale;
        root.style.setProperty("--caption-scale", String(scale));
        refit();
      }
      setLanguage(caption, lang);
      if (isRewritten()) showWhole(text, finished);
      else showWords(text, finished);
    },
    destroy() {
      resized.disconnect();
      caption.replaceChildren();
    },
  };
}

const sameWord = (one, other) => one.text === other.text && one.stale === other.stale;

const joined = (words) => words.join("");

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
