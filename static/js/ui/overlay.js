// The caption over the video, like subtitles. Only words that differ from the last caption change in
// the document. If a translator rewrites the page's texts, a caption is one text, written once when it
// is finished: single words cannot be translated, and each new text costs a translation.

import {
  createElement,
  createListeners,
  isRewritten,
  noteRewriting,
  setAttribute,
  setLanguage,
  setProperty,
  setText,
} from "./dom.js";
import { shownCaption } from "../core/shown.js";
import { areOldWords, askedText } from "../words/page.js";

const SMALLEST_FIT = 2;

/** `root` holds the caption; `asked` is the element of its question, `more` the button to open it. */
export function mountOverlay(root, asked, more) {
  const caption = root.querySelector("#caption");
  const block = root.querySelector(".overlay-text");
  const { listen, destroy } = createListeners();
  /** The words on the screen, and the element of each. */
  let shown = [];
  const spans = [];
  /** The element of a caption that is one text, or null. */
  let whole = null;
  let fit = 0;
  let scale = null;
  let isFinished = true;

  let size = "";
  const resized = new ResizeObserver(([{ contentRect }]) => {
    if (`${contentRect.width} ${contentRect.height}` === size) return;
    size = `${contentRect.width} ${contentRect.height}`;
    refit();
  });
  resized.observe(root.parentElement.parentElement);
  listen(more, "click", () => open(root.dataset.open === undefined));

  function open(isOpen) {
    setAttribute(root, "data-open", isOpen ? "" : null);
    setAttribute(more, "aria-expanded", String(isOpen));
    setText(more, isOpen ? "Less" : "More");
    refit();
  }

  function showWords(text) {
    if (whole) clear();
    noteRewriting(caption, joined(shown));
    const words = splitWords(text);
    if (words.length === shown.length && words.every((word, i) => word === shown[i])) return false;
    words.forEach((word, index) => {
      if (index === spans.length) {
        spans.push(createElement("span", "overlay-word", word));
        caption.append(spans[index]);
      } else setText(spans[index], word);
    });
    while (spans.length > words.length) spans.pop().remove();
    shown = words;
    return true;
  }

  function showWhole(text) {
    if (!whole) {
      clear();
      whole = caption.appendChild(createElement("span", ""));
    }
    return setText(whole, text.trim());
  }

  function clear() {
    caption.replaceChildren();
    shown = [];
    spans.length = 0;
    whole = null;
  }

  function refit() {
    setFit(0);
    fitWords();
  }

  /** Long captions get a smaller font, down to a limit; beyond it they scroll, and can be opened. */
  function fitWords() {
    while (fit < SMALLEST_FIT && overflows()) setFit(fit + 1);
    const isLong = overflows();
    // The newest words are in sight while they come, then the first ones.
    root.scrollTop = isFinished ? 0 : root.scrollHeight;
    setProperty(more, "hidden", !isFinished || !(isLong || root.dataset.open !== undefined));
    setAttribute(root, "tabindex", isLong ? "0" : null);
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
      const { text, finished, lang } = shownCaption(state);
      const ends = finished && !isFinished;
      isFinished = finished;
      setAttribute(root, "data-old", areOldWords(state, at) ? "" : null);
      setText(asked, askedText(state));
      setProperty(asked, "hidden", text.trim() === "");
      if (state.settings.captionScale !== scale) {
        scale = state.settings.captionScale;
        root.style.setProperty("--caption-scale", String(scale));
        refit();
      }
      setLanguage(caption, lang);
      if (isRewritten() && !finished) return;
      const changed = isRewritten() ? showWhole(text) : showWords(text);
      if (changed && finished) open(false);
      else if (ends) refit();
      // A translation may be longer.
      else if (changed || whole) fitWords();
    },
    destroy() {
      resized.disconnect();
      destroy();
      caption.replaceChildren();
    },
  };
}

const joined = (words) => words.join("");

/** The words of `text`, each with the white space before it, so that joined they give the text. */
const splitWords = (text) => text.trim().match(/\s*\S+/g) ?? [];
