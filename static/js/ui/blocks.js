// Shows an answer: paragraphs, lists and JSON, each as such. Never as HTML.

import { createElement } from "./dom.js";
import { blocksOf } from "../core/blocks.js";
import { apart, wordsOf } from "../core/words-apart.js";

/** Fills `root` with `text`; words that are not in `other`, another text or null, are marked. */
export function showBlocks(root, text, other = null) {
  const blocks = blocksOf(text);
  const marks = other === null ? [] : apart(joined(blocks), joined(blocksOf(other)));
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

const joined = (blocks) => blocks.map(({ text }) => text).join("\n");

function fill(block, text, marks) {
  if (!marks.includes(true)) {
    block.textContent = text;
    return;
  }
  wordsOf(text).forEach((word, index) => {
    const bare = word.trimStart();
    block.append(word.slice(0, word.length - bare.length));
    block.append(marks[index] ? createElement("b", "differs", bare) : bare);
  });
}
