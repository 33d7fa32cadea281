// The list of models in the settings: what is here, what could be fetched, and what runs now.

import { createListeners, make, setAttribute, setProperty, setText } from "./dom.js";
import { choicesOf, pickerHint } from "../words/models.js";

const STANDING_WORDS = {
  running: "Captioning now",
  large: "Too large",
  offline: "Not here",
};

export function mountModelPicker(root, dispatch) {
  const hint = root.querySelector(".hint");
  const list = root.querySelector(".models-list");
  const { listen, destroy } = createListeners();
  let choices = [];

  listen(list, "click", ({ target }) => {
    const item = target.closest("button")?.closest(".model");
    const choice = choices[[...list.children].indexOf(item)];
    if (!choice?.action || choice.action.waits) return;
    dispatch({ type: choice.action.type, model: choice.name });
  });

  function makeItem() {
    const item = make("li", "model");
    const button = make("button", "button button-quiet model-action");
    button.type = "button";
    button.append(make("span", "model-label"), make("span", "visually-hidden model-of"));
    const title = make("p", "model-title");
    // Where the focus goes when its button does.
    title.tabIndex = -1;
    item.append(
      title,
      make("p", "model-good-for"),
      make("p", "model-facts"),
      make("p", "model-standing"),
      button,
    );
    return item;
  }

  function show(item, { title, goodFor, facts, standing, action }) {
    const part = (name) => item.querySelector(`.model-${name}`);
    setAttribute(item, "data-standing", standing);
    setText(part("title"), title);
    setText(part("good-for"), goodFor);
    setText(part("facts"), facts);
    setText(part("standing"), action ? "" : STANDING_WORDS[standing]);
    const button = part("action");
    if (!action && document.activeElement === button) part("title").focus();
    setProperty(button, "hidden", !action);
    if (!action) return;
    setText(part("label"), action.label);
    setText(part("of"), title);
    setAttribute(button, "aria-disabled", action.waits ? "true" : null);
    // Above the list stands why it waits.
    setAttribute(button, "aria-describedby", action.waits ? hint.id : null);
  }

  return {
    update(state) {
      choices = choicesOf(state);
      setProperty(root, "hidden", choices.length === 0);
      setText(hint, pickerHint(state));
      while (list.children.length > choices.length) list.lastElementChild.remove();
      choices.forEach((choice, index) => {
        if (!list.children[index]) list.append(makeItem());
        show(list.children[index], choice);
      });
    },
    destroy,
  };
}
