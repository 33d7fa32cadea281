// The one question field: what every frame is asked, and a question about the picture of this instant.

import { createListeners, setAttribute, setOptions, setProperty, setText } from "./dom.js";
import { latelyAsked } from "../core/lately.js";
import { presetsOf } from "../core/prompt.js";
import { isFrozen } from "../core/view.js";
import { countText } from "../words/ask.js";

const OWN = "own";
/** What stands before the number of a question that was asked lately. */
const LATELY = "lately-";
const LATELY_HEAD = { value: "lately", label: "Asked lately", disabled: true };
const SHOWN_CHARS = 60;

export function mountQuestion(root, dispatch) {
  const standing = root.querySelector("#prompt");
  const field = root.querySelector("#question-text");
  const count = root.querySelector("#question-count");
  const keep = root.querySelector("#keep-asking");
  const ask = root.querySelector("#ask");
  const { listen, destroy } = createListeners();
  let limit = Infinity;
  let lately = [];

  const set = (name, value) => dispatch({ type: "setting-changed", name, value });
  listen(standing, "change", () => {
    const { value } = standing;
    const earlier = value.startsWith(LATELY) ? lately[value.slice(LATELY.length)] : null;
    if (earlier !== null) set("ownPrompt", earlier);
    else if (value !== OWN) set("preset", value);
    set("asksOwn", earlier !== null || value === OWN);
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
    if (["ArrowUp", "ArrowDown"].includes(event.key) && recall(event.key)) event.preventDefault();
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    root.requestSubmit(event.ctrlKey || event.metaKey ? keep : ask);
  });

  /** Puts the question before or after the one in the field into it, if that is empty or one of them. */
  function recall(key) {
    const index = lately.indexOf(field.value);
    if (field.value !== "" && index < 0) return false;
    const next = index + (key === "ArrowUp" ? 1 : -1);
    if (next >= lately.length || (index < 0 && next < 0)) return false;
    field.value = lately[next] ?? "";
    showCount();
    return true;
  }

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
      lately = latelyAsked(state);
      if (options.length > 0) {
        if (own) options.push({ value: OWN, label: quoted(own) });
        const others = lately.flatMap((prompt, index) =>
          prompt === own ? [] : [{ value: `${LATELY}${index}`, label: quoted(prompt) }],
        );
        if (others.length > 0) options.push(LATELY_HEAD, ...others);
        setOptions(standing, options);
      }
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

const quoted = (prompt) =>
  `“${prompt.length > SHOWN_CHARS ? `${prompt.slice(0, SHOWN_CHARS)}…` : prompt}”`;
