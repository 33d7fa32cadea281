// Shows an answer: paragraphs, lists and JSON, each as such. Never as HTML.

import { createElement } from "./dom.js";
import { blocksOf } from "../core/blocks.js";
import { apart, wordsOf } from "../core/words-apart.js";

/**
 * Fills `root` with `text`; words that are not in `other`, another text or null, are marked. `doubts` are as in
 * core/sure.js; they are marked if the text is shown as it is.
 */
export function showBlocks(root, text, other = null, doubts = []) {
  const blocks = blocksOf(text);
  const isPlain = joined(blocks) === text.trim();
  const marks =
    other === null
      ? doubtMarks(joined(blocks), isPlain ? doubts : [])
      : apart(joined(blocks), joined(blocksOf(other))).map((isApart) => (isApart ? "differs" : ""));
  let from = 0;
  const parts = [];
  for (const { kind, text: words } of blocks) {
    const tag = { item: "li", code: "pre" }[kind] ?? "p";
    const block = createElement(tag, kind === "item" ? "" : `blocks-${kind}`);
    const { length } = wordsOf(words);
    fill(block, words, marks.slice(from, from + length));
    from += length;
    if (kind !== "item") {
      parts.push(block);
      continue;
    }
    if (parts.at(-1)?.tagName !== "UL") {
      parts.push(createElement("ul", "blocks-list"));
      parts.at(-1).setAttribute("role", "list");
    }
    parts.at(-1).append(block);
  }
  for (const part of parts) part.dir = part.tagName === "PRE" ? "ltr" : "auto";
  root.replaceChildren(...parts);
}

/** For each word the class of its mark, or "". */
function doubtMarks(text, doubts) {
  let to = 0;
  return wordsOf(text).map((word) => {
    to += word.length;
    const from = to - word.trimStart().length;
    const doubt = doubts.find((one) => from < one.to && one.from < to);
    return doubt ? `word-${doubt.kind}` : "";
  });
}

const joined = (blocks) => blocks.map(({ text }) => text).join("\n");

function fill(block, text, marks) {
  if (!marks.some(Boolean)) {
    block.textContent = text;
    return;
  }
  wordsOf(text).forEach((word, index) => {
    const bare = word.trimStart();
    block.append(word.slice(0, word.length - bare.length));
    block.append(marks[index] ? marked(marks[index], bare) : bare);
  });
}

const marked = (mark, word) => createElement(mark === "differs" ? "b" : "span", mark, word);
