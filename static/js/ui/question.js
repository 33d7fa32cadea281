// The one question field: what every frame is asked, and a question about the picture of this instant.

import { createListeners, setAttribute, setOptions, setProperty, setText } from "./dom.js";
import { presetsOf } from "../core/prompt.js";
import { isFrozen } from "../core/view.js";
import { countText } from "../words/ask.js";

const OWN = "own";
const SHOWN_CHARS = 60;

export function mountQuestion(root, dispatch) {
  const standing = root.querySelector("#prompt");
  const field = root.querySelector("#question-text");
  const count = root.querySelector("#question-count");
  const keep = root.querySelector("#keep-asking");
  const ask = root.querySelector("#ask");
  const { listen, destroy } = createListeners();
  let limit = Infinity;

  const set = (name, value) => dispatch({ type: "setting-changed", name, value });
  listen(standing, "change", () => {
    if (standing.value !== OWN) set("preset", standing.value);
    set("asksOwn", standing.value === OWN);
  });
  listen(root, "submit", (event) => {
    event.preventDefault();
    if (event.submitter === keep) askAlways();
    else askOnce();
  });
  listen(field, "input", showCount);
  listen(field, "keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      field.blur();
      event.preventDefault();
    }
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    root.requestSubmit(event.ctrlKey || event.metaKey ? keep : ask);
  });

  function typed() {
    const text = field.value.trim();
    return text.length > limit ? "" : text;
  }

  function askOnce() {
    const prompt = typed();
    if (!prompt) return;
    dispatch({ type: "question-asked", question: { prompt } });
    empty();
  }

  function askAlways() {
    const prompt = typed();
    if (!prompt) return;
    set("ownPrompt", prompt);
    set("asksOwn", true);
    dispatch({ type: "asked" });
    empty();
  }

  function empty() {
    field.value = "";
    showCount();
  }

  function showCount() {
    const text = field.value.trim();
    setText(count, countText(text.length, limit));
    setAttribute(field, "aria-invalid", text.length > limit ? "true" : null);
    setProperty(keep, "hidden", text === "");
    setProperty(ask, "disabled", text === "" || text.length > limit);
  }
  showCount();

  return {
    update(state) {
      const { settings, server } = state;
      const own = settings.ownPrompt.trim();
      const options = presetsOf(state).map(({ id, label }) => ({ value: id, label }));
      const shown = own.length > SHOWN_CHARS ? `${own.slice(0, SHOWN_CHARS)}…` : own;
      if (own && options.length > 0) options.push({ value: OWN, label: `“${shown}”` });
      if (options.length > 0) setOptions(standing, options);
      const selected = settings.asksOwn && own ? OWN : settings.preset;
      const known = [...standing.options].some(({ value }) => value === selected);
      setProperty(standing, "value", known ? selected : standing.options[0].value);
      setProperty(standing, "title", `Asked of every frame: ${standing.selectedOptions[0].label}`);
      const isNew = limit !== (server.status?.limits?.prompt_max_chars ?? Infinity);
      limit = server.status?.limits?.prompt_max_chars ?? Infinity;
      if (isNew) showCount();
      const about = isFrozen(state) ? "Ask about this picture" : "Ask about the picture";
      setAttribute(field, "placeholder", about);
    },
    destroy,
  };
}
