// The most important notice, with its actions.

import { createListeners, createElement, setAttribute, setProperty, setText } from "./dom.js";
import { countdownS, noticeOf } from "../words/page.js";

export function mountNotice(root, act) {
  const card = root.querySelector(".notice");
  const title = card.querySelector(".notice-title");
  const text = card.querySelector(".notice-text");
  const countdown = card.querySelector(".notice-next");
  const actions = card.querySelector(".notice-actions");
  const { listen, destroy } = createListeners();
  let shownActions = "";

  listen(actions, "click", ({ target }) => {
    const button = target.closest("button");
    if (button) act(button.dataset.action, button.dataset.value);
  });

  function showActions(next) {
    const key = JSON.stringify(next);
    if (key === shownActions) return;
    shownActions = key;
    actions.replaceChildren(
      ...next.map(({ action, label, value = "", isQuiet = false }) => {
        const button = createElement("button", `button${isQuiet ? " button-quiet" : ""}`, label);
        button.type = "button";
        button.dataset.action = action;
        button.dataset.value = value;
        return button;
      }),
    );
  }

  return {
    update(state, at) {
      const notice = noticeOf(state, at);
      setProperty(card, "hidden", notice === null);
      setAttribute(card, "data-notice", notice?.id ?? null);
      if (!notice) return;
      setAttribute(card, "data-tone", notice.tone);
      setText(title, notice.title);
      setText(text, notice.text);
      const left = countdownS(notice.until, at);
      setText(
        countdown,
        left === null ? "" : left > 0 ? `Next attempt in ${left} s` : "Trying now",
      );
      showActions(notice.actions);
    },
    destroy,
  };
}
