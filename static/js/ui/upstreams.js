// The list of servers that run the model, in the settings, each with its state or problem.

import { createElement, createItems, setAttribute, setProperty, setText } from "./dom.js";
import { privacyText, upstreamsOf } from "../words/destination.js";

export function mountUpstreams(root) {
  const hint = root.querySelector(".hint");
  const list = root.querySelector(".upstreams-list");

  const items = createItems(list, () => {
    const item = createElement("li", "upstream");
    item.append(createElement("p", "upstream-origin"), createElement("p", "upstream-facts"));
    return item;
  });

  return {
    update(state) {
      const upstreams = upstreamsOf(state);
      setProperty(root, "hidden", upstreams.length === 0);
      if (upstreams.length > 0) setText(hint, privacyText(state.server.status, location.hostname));
      const shown = items(upstreams.length);
      upstreams.forEach(({ origin, tone, facts }, index) => {
        const item = shown[index];
        setAttribute(item, "data-tone", tone);
        setText(item.children[0], origin);
        setText(item.children[1], facts);
      });
    },
    destroy() {
      list.replaceChildren();
    },
  };
}
