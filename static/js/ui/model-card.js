// The card of a change of models, beside the badge and clear of the captions.

import { createListeners, createElement, setAttribute, setProperty, setText } from "./dom.js";
import { changeCardOf } from "../words/models.js";

export function mountModelCard(root, dispatch) {
  const title = root.querySelector(".model-card-title");
  const text = root.querySelector(".model-card-text");
  const bar = root.querySelector(".model-card-bar");
  const actions = root.querySelector(".model-card-actions");
  const { listen, destroy } = createListeners();
  let shown = [];

  listen(actions, "click", ({ target }) => {
    const index = [...actions.children].indexOf(target.closest("button"));
    const { type, model, disabled } = shown[index] ?? { disabled: true };
    if (!disabled) dispatch({ type, model });
  });

  /** Buttons are reused, so that a pressed one keeps the focus. */
  function showActions(next) {
    shown = next;
    while (actions.children.length > next.length) actions.lastElementChild.remove();
    next.forEach(({ label, disabled }, index) => {
      const button = actions.children[index] ?? addButton(index);
      setText(button, label);
      setAttribute(button, "aria-disabled", disabled ? "true" : null);
    });
  }

  function addButton(index) {
    const button = createElement(
      "button",
      index === 0 ? "button button-quiet" : "button button-bare",
    );
    button.type = "button";
    actions.append(button);
    return button;
  }

  function showProgress({ value, max }) {
    setProperty(bar, "max", max || 1);
    // A bar without a value shows that the end is unknown.
    if (max > 0) setAttribute(bar, "value", String(value));
    else bar.removeAttribute("value");
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
