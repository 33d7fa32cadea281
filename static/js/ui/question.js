// What is asked about each frame: one of the server's presets, or a question of one's own.

import { createListeners, setOptions, setProperty } from "./dom.js";

const OWN = { value: "own", label: "My own question…" };

export function mountQuestion(root, dispatch) {
  const choice = root.querySelector("#prompt");
  const ownField = root.querySelector(".question-own");
  const own = root.querySelector("#own-prompt");
  const { listen, destroy } = createListeners();

  const set = (name, value) => dispatch({ type: "setting-changed", name, value });
  listen(choice, "change", () => {
    const asksOwn = choice.value === OWN.value;
    if (!asksOwn) set("preset", choice.value);
    set("asksOwn", asksOwn);
    if (asksOwn) own.focus();
  });
  listen(own, "change", () => set("ownPrompt", own.value));
  listen(root, "submit", (event) => {
    event.preventDefault();
    set("ownPrompt", own.value);
  });

  return {
    update({ settings, server }) {
      const presets = server.status?.presets ?? [];
      setOptions(choice, [...presets.map(({ id, label }) => ({ value: id, label })), OWN]);
      const wanted = settings.asksOwn ? OWN.value : settings.preset;
      const known = [...choice.options].some(({ value }) => value === wanted);
      setProperty(choice, "value", known ? wanted : choice.options[0].value);
      setProperty(ownField, "hidden", !settings.asksOwn);
      const longest = server.status?.limits?.prompt_max_chars;
      if (longest) setProperty(own, "maxLength", longest);
      // What a person is typing is theirs until they are done with it.
      if (document.activeElement !== own) setProperty(own, "value", settings.ownPrompt);
    },
    destroy,
  };
}
