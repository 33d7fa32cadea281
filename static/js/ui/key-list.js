// The list of keys in the settings: each can be changed, moved to Alt and Shift, or switched off.

import {
  createElement,
  createListeners,
  setAttribute,
  setOptions,
  setProperty,
  setText,
} from "./dom.js";
import { MODES, keepsKey, keysOf, ownerOf, withKey } from "../core/keys.js";
import { SHORTCUTS, keyOf } from "./shortcuts.js";

const MODE_LABELS = { on: "alone", chord: "Alt+Shift", off: "off" };
const options = MODES.map((value) => ({ value, label: MODE_LABELS[value] }));
const LEAVES = ["Escape", "Tab", "Shift", "Control", "Alt", "Meta"];

export function mountKeyList(root, status, dispatch) {
  const { listen, destroy } = createListeners();
  let setting = "";
  /** The command whose new key is awaited, or null. */
  let awaited = null;

  const labelOf = (id) => SHORTCUTS.find((one) => one.id === id).label;
  const rows = SHORTCUTS.map(({ id, label }) => {
    const row = createElement("li", "key-row");
    const name = createElement("span", "key-label", label);
    const button = createElement("button", "button button-quiet key-button");
    button.type = "button";
    button.disabled = keepsKey(id);
    const mode = createElement("select", "select key-mode");
    setOptions(mode, options);
    setAttribute(mode, "aria-label", `When the key works: ${label}`);
    mode.disabled = id === "escape";
    row.append(name, button, mode);
    row.dataset.command = id;
    return { id, row, button, mode };
  });
  root.replaceChildren(...rows.map(({ row }) => row));

  const set = (value) => dispatch({ type: "setting-changed", name: "keys", value });
  const commandOf = (target) => target.closest("[data-command]")?.dataset.command;

  function wait(id) {
    awaited = id;
    setText(status, id ? `Press the new key for “${labelOf(id)}”. Escape leaves it as it is.` : "");
    show();
  }

  function show() {
    const keys = keysOf(setting);
    for (const { id, button, mode } of rows) {
      const text = awaited === id ? "…" : keys[id].key;
      setText(button, text);
      setAttribute(button, "aria-label", `${labelOf(id)}: ${text}, change the key`);
      setProperty(mode, "value", keys[id].mode);
    }
  }

  listen(root, "click", ({ target }) => {
    if (target.matches(".key-button")) wait(commandOf(target));
  });
  listen(root, "input", (event) => {
    if (!event.target.matches(".key-mode")) return;
    event.stopPropagation();
    const id = commandOf(event.target);
    const { key } = keysOf(setting)[id];
    const owner = event.target.value === "off" ? null : ownerOf(setting, key, id);
    if (owner)
      setText(status, `${key} is the key of “${labelOf(owner)}”. Change one of them first.`);
    set(withKey(setting, id, { mode: event.target.value }));
    show();
  });
  listen(root, "focusout", () => awaited && wait(null));
  listen(root, "keydown", (event) => {
    if (awaited === null || event.ctrlKey || event.metaKey) return;
    if (LEAVES.includes(event.key)) {
      if (event.key === "Escape") {
        event.preventDefault();
        wait(null);
      }
      return;
    }
    event.preventDefault();
    const key = keyOf(event);
    const owner = ownerOf(setting, key, awaited);
    const isFree = owner === null && key.length <= 5 && key !== "1-9" && !/\s/.test(key);
    if (!isFree) {
      const why = owner ? `is the key of “${labelOf(owner)}”` : "cannot be used";
      setText(status, `${key} ${why}. Press another one, or Escape.`);
      return;
    }
    const id = awaited;
    wait(null);
    set(withKey(setting, id, { key }));
    setText(status, `${labelOf(id)}: ${key}`);
  });

  return {
    update({ settings }) {
      if (settings.keys === setting && root.dataset.shown) return;
      root.dataset.shown = "yes";
      setting = settings.keys;
      show();
    },
    destroy,
  };
}
