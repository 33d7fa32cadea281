// The card of a change of models, beside the badge and clear of the captions.

import {
  createElement,
  createItems,
  createListeners,
  setAttribute,
  setProperty,
  setText,
} from "./dom.js";
import { changeCardOf } from "../words/models.js";

export function mountModelCard(root, dispatch) {
  const title = root.querySelector(".model-card-title");
  const text = root.querySelector(".model-card-text");
  const bar = root.querySelector(".model-card-bar");
  const actions = root.querySelector(".model-card-actions");
  const { listen, destroy } = createListeners();
  // Buttons are reused, so that a pressed one keeps the focus.
  const buttons = createItems(actions, (index) => {
    const button = createElement(
      "button",
      index === 0 ? "button button-quiet" : "button button-bare",
    );
    button.type = "button";
    return button;
  });
  let shown = [];

  listen(actions, "click", ({ target }) => {
    const index = buttons(shown.length).indexOf(target.closest("button"));
    const { type, model, disabled } = shown[index] ?? { disabled: true };
    if (!disabled) dispatch({ type, model });
  });

  function showActions(next) {
    shown = next;
    buttons(next.length).forEach((button, index) => {
      setText(button, next[index].label);
      setAttribute(button, "aria-disabled", next[index].disabled ? "true" : null);
    });
  }

  function showProgress({ value, max }) {
    setProperty(bar, "max", max || 1);
    // A bar without a value shows that the end is unknown.
    setAttribute(bar, "value", max > 0 ? String(value) : null);
  }

  return {
    update(state, at) {
      const card = changeCardOf(state, at);
      setProperty(root, "hidden", card === null);
      setAttribute(root, "data-change", card?.id ?? null);
      if (!card) return;
      setAttribute(root, "data-tone", card.tone);
      setText(title, card.title);
      setText(text, card.text);
      setProperty(bar, "hidden", card.bar === null);
      if (card.bar) showProgress(card.bar);
      showActions(card.actions);
    },
    destroy,
  };
}
