// Single keys, as listed in the settings; off while a person types, or for good if they choose so.

import { createListeners } from "./dom.js";

/** Each key with what it does, in words and as events from the state. */
export const SHORTCUTS = [
  {
    key: "S",
    does: "Start or stop",
    events: ({ wanted }) => [{ type: wanted ? "stopped" : "started" }],
  },
  {
    key: "M",
    does: "Mirror the picture",
    events: ({ settings }) => [change("mirror", !settings.mirror)],
  },
  { key: "+", does: "Larger captions", events: (state) => [resize(state, 0.1)] },
  { key: "-", does: "Smaller captions", events: (state) => [resize(state, -0.1)] },
  { key: "H", does: "Captions of this session", events: () => [toggle("history")] },
  { key: ",", does: "Settings", events: () => [toggle("preferences")] },
  {
    key: "Esc",
    does: "Close the open panel",
    events: ({ panel }) => (panel ? [toggle(panel)] : []),
  },
];

const change = (name, value) => ({ type: "setting-changed", name, value });
const toggle = (panel) => ({ type: "panel-toggled", panel });

function resize({ settings }, by) {
  const scale = Math.round((settings.captionScale + by) * 10) / 10;
  return change("captionScale", Math.min(2.2, Math.max(0.7, scale)));
}

export function mountShortcuts(root, dispatch) {
  const { listen, destroy } = createListeners();
  let state = null;

  listen(root, "keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const isEscape = event.key === "Escape";
    if (!isEscape && (!state.settings.shortcuts || takesKeys(event.target))) return;
    const key = isEscape ? "Esc" : event.key.toUpperCase().replace("=", "+");
    const shortcut = SHORTCUTS.find((one) => one.key === key);
    if (!shortcut) return;
    const events = shortcut.events(state);
    if (events.length > 0) event.preventDefault();
    events.forEach(dispatch);
  });

  return {
    update(next) {
      state = next;
    },
    destroy,
  };
}

function takesKeys(target) {
  return target.matches("select, textarea, input:not([type=checkbox], [type=radio], [type=range])");
}
