// The line under the caption: what it is about, who made it, how sure that is, and what the object finder says
// to its words. Where the browser can, these words are also underlined, without a change of the document.

import { createListeners, setProperty, setText } from "./dom.js";
import { markedSpans } from "../core/checks.js";
import { longerThan } from "../core/length.js";
import { shownCaption } from "../core/shown.js";
import { changeOf } from "../core/server.js";
import { doubtsOf } from "../core/sure.js";
import { stillOf } from "../core/view.js";
import { marksText } from "../words/boxes.js";
import { hintsAtModels } from "../words/models.js";

/** The highlight's name in the stylesheet, by the verdict or the kind of doubt. */
const HIGHLIGHTS = {
  found: "caption-found",
  not_found: "caption-not-found",
  unsure: "caption-unsure",
  denied: "caption-denied",
};

const canHighlight =
  typeof Highlight === "function" && typeof CSS !== "undefined" && CSS.highlights;

/** `act` carries out the actions of notices; here "models" shows the list of models. */
export function mountMarks(root, caption, dispatch, act) {
  const text = root.querySelector(".marks-text");
  const longer = root.querySelector("#longer");
  const models = root.querySelector("#real-models");
  const { listen, destroy } = createListeners();
  let shown = null;
  let length = null;

  listen(longer, "click", () => {
    dispatch({ type: "setting-changed", name: "length", value: length });
  });

  listen(models, "click", () => {
    dispatch({ type: "setting-changed", name: "modelHint", value: false });
    act("models");
  });

  function clear() {
    for (const name of Object.values(HIGHLIGHTS)) CSS.highlights.delete(name);
  }

  /** Underlines words that were checked or are in doubt, unless a translator has put others in their place. */
  function underline(next) {
    clear();
    if (!next.finished || caption.textContent !== next.text.trim()) return;
    const checked = markedSpans(caption.textContent, next.checks);
    const doubted = doubtsOf(next.text, next);
    for (const [kind, name] of Object.entries(HIGHLIGHTS)) {
      const spans = [...checked, ...doubted];
      const ranges = spans.filter((one) => (one.verdict ?? one.kind) === kind).map(rangeOf);
      if (ranges.length > 0) CSS.highlights.set(name, new Highlight(...ranges));
    }
  }

  function rangeOf({ from, to }) {
    const range = document.createRange();
    range.setStart(...pointAt(from, false));
    range.setEnd(...pointAt(to, true));
    return range;
  }

  /** The text node and offset of a character; `isEnd` prefers the end of a node to the next one. */
  function pointAt(offset, isEnd) {
    const walker = document.createTreeWalker(caption, NodeFilter.SHOW_TEXT);
    let left = offset;
    let last = [caption, 0];
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (left < node.length || (isEnd && left === node.length)) return [node, left];
      left -= node.length;
      last = [node, node.length];
    }
    return last;
  }

  return {
    update(state) {
      const isInView = state.started || stillOf(state) !== null;
      const next = shownCaption(state);
      setText(text, isInView ? marksText(next, changeOf(state) !== null) : "");
      setProperty(models, "hidden", !(isInView && hintsAtModels(state, next)));
      length = isInView && next.cut?.by === "limit" ? longerThan(state.settings.length) : null;
      setProperty(longer, "hidden", length === null);
      if (canHighlight && next !== shown) underline(next);
      shown = next;
    },
    destroy() {
      if (canHighlight) clear();
      destroy();
    },
  };
}
