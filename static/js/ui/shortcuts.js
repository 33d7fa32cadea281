// Single-key shortcuts, listed in the settings. They are off in text fields and if switched off there.

import { createListeners } from "./dom.js";
import { detectorOf } from "../core/boxes.js";

/** Each key with its label and the events it dispatches in a state. */
export const SHORTCUTS = [
  {
    key: "S",
    label: "Start or stop",
    events: ({ started }) => [{ type: started ? "stopped" : "started" }],
  },
  {
    key: "M",
    label: "Mirror the picture",
    events: ({ settings }) => [change("mirror", !settings.mirror)],
  },
  {
    key: "B",
    label: "Boxes around things",
    events: (state) => (detectorOf(state) ? [change("boxes", !state.settings.boxes)] : []),
  },
  { key: "V", label: "Voice on or off", events: () => [{ type: "voice-toggled" }] },
  {
    key: "N",
    label: "Say what is there now",
    events: ({ started }) => [{ type: started ? "now-asked" : "started" }],
  },
  { key: "R", label: "Say it again", events: () => [{ type: "again-asked" }] },
  { key: "D", label: "Say more", events: () => [{ type: "detail-asked" }] },
  { key: "+", label: "Larger captions", events: (state) => [resize(state, 0.1)] },
  { key: "-", label: "Smaller captions", events: (state) => [resize(state, -0.1)] },
  { key: "H", label: "Session", events: () => [toggle("history")] },
  { key: ",", label: "Settings", events: () => [toggle("preferences")] },
  {
    key: "Esc",
    label: "Silence the voice, else close the open panel or an answer about a part",
    events: ({ panel, part, voice }) => {
      if (voice.saying) return [{ type: "voice-silenced" }];
      if (panel) return [toggle(panel)];
      return part ? [{ type: "part-closed" }] : [];
    },
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
    if (event.key === "Control" && state.voice.saying) dispatch({ type: "voice-silenced" });
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const isEscape = event.key === "Escape";
    if (!isEscape && (!state.settings.shortcuts || usesLetterKeys(event.target))) return;
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

function usesLetterKeys(target) {
  return target.matches("select, textarea, input:not([type=checkbox], [type=radio], [type=range])");
}
