// The list of models in the settings: which are installed, can be downloaded, or run now.

import {
  createElement,
  createItems,
  createListeners,
  setAttribute,
  setProperty,
  setText,
} from "./dom.js";
import { modelListOf, pickerHint } from "../words/models.js";

const STATUS_TEXT = {
  running: "In use",
  changing: "In progress",
  free: "",
  large: "Too large",
};

export function mountModelPicker(root, dispatch) {
  const hint = root.querySelector(".hint");
  const list = root.querySelector(".models-list");
  const { listen, destroy } = createListeners();
  let models = [];

  listen(list, "click", ({ target }) => {
    const item = target.closest("button")?.closest(".model");
    const model = models[items(models.length).indexOf(item)];
    if (!model?.action || model.action.disabled) return;
    dispatch({ type: model.action.type, model: model.name });
  });

  const items = createItems(list, () => {
    const item = createElement("li", "model");
    const button = createElement("button", "button button-quiet model-action");
    button.type = "button";
    button.append(
      createElement("span", "model-label"),
      createElement("span", "visually-hidden model-of"),
    );
    const title = createElement("p", "model-title");
    // Gets the focus when its button is hidden.
    title.tabIndex = -1;
    item.append(
      title,
      createElement("p", "model-good-for"),
      createElement("p", "model-facts"),
      createElement("p", "model-status"),
      button,
    );
    return item;
  });

  function show(item, { title, goodFor, facts, status, action }) {
    const part = (name) => item.querySelector(`.model-${name}`);
    setAttribute(item, "data-status", status);
    setText(part("title"), title);
    setText(part("good-for"), goodFor);
    setText(part("facts"), facts);
    setText(part("status"), action ? "" : STATUS_TEXT[status]);
    const button = part("action");
    if (!action && document.activeElement === button) part("title").focus();
    setProperty(button, "hidden", !action);
    if (!action) return;
    setText(part("label"), action.label);
    setText(part("of"), title);
    setAttribute(button, "aria-disabled", action.disabled ? "true" : null);
    // The hint above the list has the reason.
    setAttribute(button, "aria-describedby", action.disabled ? hint.id : null);
  }

  return {
    update(state) {
      models = modelListOf(state);
      setProperty(root, "hidden", models.length === 0);
      setText(hint, pickerHint(state));
      items(models.length).forEach((item, index) => show(item, models[index]));
    },
    destroy,
  };
}
