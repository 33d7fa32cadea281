// The change of models under way, beside the badge, clear of the captions.

import { createListeners, make, setAttribute, setProperty, setText } from "./dom.js";
import { changeCardOf } from "../words/models.js";

export function mountModelCard(root, dispatch) {
  const title = root.querySelector(".model-card-title");
  const text = root.querySelector(".model-card-text");
  const bar = root.querySelector(".model-card-bar");
  const actions = root.querySelector(".model-card-actions");
  const { listen, destroy } = createListeners();
  let offered = [];

  listen(actions, "click", ({ target }) => {
    const index = [...actions.children].indexOf(target.closest("button"));
    const { type, model, waits } = offered[index] ?? { waits: true };
    if (!waits) dispatch({ type, model });
  });

  /** Buttons stay the same elements, so that one that was pressed keeps the focus. */
  function offer(wanted) {
    offered = wanted;
    while (actions.children.length > wanted.length) actions.lastElementChild.remove();
    wanted.forEach(({ label, waits }, index) => {
      const button = actions.children[index] ?? addButton(index);
      setText(button, label);
      setAttribute(button, "aria-disabled", waits ? "true" : null);
    });
  }

  function addButton(index) {
    const button = make("button", index === 0 ? "button button-quiet" : "button button-bare");
    button.type = "button";
    actions.append(button);
    return button;
  }

  function fill({ value, max }) {
    setProperty(bar, "max", max || 1);
    // Without a value it says that nobody knows how long it takes.
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
      if (card.bar) fill(card.bar);
      offer(card.actions);
    },
    destroy,
  };
}
