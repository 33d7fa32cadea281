// The prompt for each frame: one of the server's presets, or the user's own question.

import { createListeners, setOptions, setProperty } from "./dom.js";

const OWN = { value: "own", label: "My own question…" };

export function mountQuestion(root, dispatch) {
  const select = root.querySelector("#prompt");
  const ownField = root.querySelector(".question-own");
  const own = root.querySelector("#own-prompt");
  const { listen, destroy } = createListeners();

  const set = (name, value) => dispatch({ type: "setting-changed", name, value });
  listen(select, "change", () => {
    const asksOwn = select.value === OWN.value;
    if (!asksOwn) set("preset", select.value);
    set("asksOwn", asksOwn);
    if (asksOwn) own.focus();
  });
  listen(own, "change", () => set("ownPrompt", own.value));
  listen(root, "submit", (event) => {
    event.preventDefault();
    set("ownPrompt", own.value);
    dispatch({ type: "asked" });
  });

  return {
    update({ settings, server }) {
      const presets = server.status?.presets ?? [];
      const options = presets.map(({ id, label }) => ({ value: id, label }));
      if (options.length > 0) setOptions(select, [...options, OWN]);
      const selected = settings.asksOwn ? OWN.value : settings.preset;
      const known = [...select.options].some(({ value }) => value === selected);
      setProperty(select, "value", known ? selected : select.options[0].value);
      setProperty(ownField, "hidden", !settings.asksOwn);
      const maxLength = server.status?.limits?.prompt_max_chars;
      if (maxLength) setProperty(own, "maxLength", maxLength);
      // Do not overwrite a question while it is being typed.
      if (document.activeElement !== own) setProperty(own, "value", settings.ownPrompt);
    },
    destroy,
  };
}
