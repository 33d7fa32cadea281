// Shows an answer: paragraphs, lists and JSON, each as such. Never as HTML.

import { createElement } from "./dom.js";
import { blocksOf } from "../core/blocks.js";

/** Fills `root` with `text`. */
export function showBlocks(root, text) {
  const parts = [];
  for (const { kind, text: words } of blocksOf(text)) {
    if (kind === "item") {
      if (parts.at(-1)?.tagName !== "UL") {
        parts.push(createElement("ul", "blocks-list"));
        parts.at(-1).setAttribute("role", "list");
      }
      parts.at(-1).append(createElement("li", "", words));
    } else parts.push(createElement(kind === "code" ? "pre" : "p", `blocks-${kind}`, words));
  }
  for (const part of parts) part.dir = part.tagName === "PRE" ? "ltr" : "auto";
  root.replaceChildren(...parts);
}
