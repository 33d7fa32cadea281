// The settings panel: each control has the name of its setting.

import {
  createElement,
  createItems,
  createListeners,
  setAttribute,
  setProperty,
  setText,
} from "./dom.js";
import { mountKeyList } from "./key-list.js";
import { aboutText, settingsNotes } from "../words/settings.js";
import { claimsHint } from "../words/sure.js";

/** The languages offered for answers (BCP 47), each under the name that it has for itself. */
const LANGUAGES =
  "ar bn cs de el en es fa fr he hi hu id it ja ko nl pl pt ro ru sv th tr uk vi zh".split(" ");

const FORMATS = {
  captionScale: (value) => `${Math.round(value * 100)} %`,
  jpegQuality: (value) => value.toFixed(2),
};

export function mountPreferences(root, dispatch) {
  const form = root.querySelector("form");
  const about = root.querySelector(".preferences-about");
  const claims = root.querySelector(".claims-note");
  const notes = createItems(root.querySelector(".preferences-notes"), () =>
    createElement("p", "hint preferences-note"),
  );
  const keys = mountKeyList(
    root.querySelector("#keys"),
    root.querySelector("#keys-status"),
    dispatch,
  );
  const { listen, destroy } = createListeners();

  form.elements.answerLanguage.append(...LANGUAGES.map(languageOption));
  listen(form, "input", ({ target }) => {
    if (target.name)
      dispatch({ type: "setting-changed", name: target.name, value: valueOf(target) });
  });
  listen(form, "submit", (event) => event.preventDefault());

  return {
    update(state) {
      const { settings, server } = state;
      const texts = settingsNotes(state);
      notes(texts.length).forEach((note, index) => setText(note, texts[index]));
      for (const control of form.elements) show(control, settings[control.name]);
      for (const [name, format] of Object.entries(FORMATS)) {
        setText(form.elements[`${name}Value`], format(settings[name]));
        setAttribute(form.elements[name], "aria-valuetext", format(settings[name]));
      }
      setText(claims, claimsHint(state));
      setText(about, aboutText(server.status));
      keys.update(state);
    },
    destroy() {
      keys.destroy();
      destroy();
    },
  };
}

function languageOption(tag) {
  const name = new Intl.DisplayNames([tag], { type: "language" }).of(tag);
  const option = createElement("option", "", name);
  option.value = tag;
  setAttribute(option, "lang", tag);
  setAttribute(option, "translate", "no");
  return option;
}

function valueOf(control) {
  if (control.type === "checkbox") return control.checked;
  const isNumber = control.type === "range" || control.name === "intervalS";
  return isNumber ? Number(control.value) : control.value;
}

function show(control, value) {
  if (value === undefined) return;
  if (control.type === "checkbox") setProperty(control, "checked", value);
  else if (control.type === "radio") setProperty(control, "checked", control.value === value);
  else setProperty(control, "value", String(value));
}
