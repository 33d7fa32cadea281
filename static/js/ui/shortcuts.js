// Single-key shortcuts, listed in the settings. They are off in text fields and if switched off there, but
// not with Alt and Shift.

import { createListeners } from "./dom.js";
import { detectorOf } from "../core/boxes.js";
import { presetsOf } from "../core/prompt.js";
import { isFrozen, neighbourOf, stillOf } from "../core/view.js";

/** Each key with its label and the events it dispatches in a state. */
export const SHORTCUTS = [
  {
    key: "S",
    label: "Start or stop",
    events: () => [{ type: "start-pressed" }],
  },
  { key: "Space", label: "Freeze, or back to live", events: () => [{ type: "freeze-pressed" }] },
  { key: "A", label: "Ask about the picture", events: () => [], focus: "question-text" },
  {
    key: "←",
    label: "Earlier picture",
    events: (state) => toNeighbour(state, -1),
  },
  {
    key: "→",
    label: "Later picture, then live",
    events: (state) => toNeighbour(state, 1),
  },
  { key: "P", label: "Play or pause the video", events: () => [{ type: "play-pressed" }] },
  {
    key: "1-9",
    label: "Questions of the list: about the frozen picture, or of every frame",
    events: (state, digit) => askPreset(state, digit),
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
  {
    key: "D",
    label: "Say more",
    events: () => [{ type: "detail-asked" }],
  },
  { key: "F", label: "Full screen", events: () => [], press: "full-screen" },
  { key: "+", label: "Larger captions", events: (state) => [resize(state, 0.1)] },
  { key: "-", label: "Smaller captions", events: (state) => [resize(state, -0.1)] },
  { key: "H", label: "Session", events: () => [toggle("history")] },
  { key: ",", label: "Settings", events: () => [toggle("preferences")] },
  {
    key: "Esc",
    label: "Silence the voice, else close the open panel, then back to live",
    events: (state) => {
      if (state.voice.saying) return [{ type: "voice-silenced" }];
      if (state.panel) return [toggle(state.panel)];
      return isFrozen(state) ? [{ type: "freeze-pressed" }] : [];
    },
  },
];

/** Keys as the list names them, by what the browser calls them. */
const NAMES = { Escape: "Esc", " ": "Space", ArrowLeft: "←", ArrowRight: "→", "=": "+" };

function toNeighbour(state, step) {
  const still = stillOf(state);
  if (!still) return [];
  const next = neighbourOf(state, step);
  if (next) return [{ type: "view-opened", stillId: next.id, panel: state.panel }];
  return step > 0 ? [{ type: "freeze-pressed" }] : [];
}

function askPreset(state, digit) {
  const preset = presetsOf(state)[digit - 1];
  if (!preset) return [];
  if (stillOf(state)) return [{ type: "question-asked", question: { prompt: preset.prompt } }];
  return [change("preset", preset.id), change("asksOwn", false)];
}

const change = (name, value) => ({ type: "setting-changed", name, value });
const toggle = (panel) => ({ type: "panel-toggled", panel });

function resize({ settings }, by) {
  const scale = Math.round((settings.captionScale + by) * 10) / 10;
  return change("captionScale", Math.min(2.2, Math.max(0.7, scale)));
}

export function mountShortcuts(root, dispatch) {
  const { listen, destroy } = createListeners();
  let state = null;
  /** The button that a pointer has pressed last: a key is not meant for it. */
  let pressed = null;

  listen(root, "pointerdown", ({ target }) => {
    pressed = target.closest?.("button") ?? null;
  });
  // Firefox presses a button when the key comes up.
  listen(root, "keyup", (event) => {
    if (event.key === " " && event.target === pressed) event.preventDefault();
  });
  listen(root, "keydown", (event) => {
    if (event.key === "Tab") pressed = null;
    if (event.key === "Control" && state.voice.saying) dispatch({ type: "voice-silenced" });
    if (event.defaultPrevented || event.ctrlKey || event.metaKey) return;
    const isChord = event.altKey && event.shiftKey;
    if (event.altKey && !isChord) return;
    const name = isChord ? nameOf(event) : event.key;
    const isAnywhere = isChord || name === "Escape";
    if (!isAnywhere && (!state.settings.shortcuts || usesKey(event.target, name, pressed))) return;
    const digit = /^[1-9]$/.test(name) ? Number(name) : null;
    const key = digit ? "1-9" : (NAMES[name] ?? name.toUpperCase());
    const shortcut = SHORTCUTS.find((one) => one.key === key);
    if (!shortcut) return;
    const events = shortcut.events(state, digit);
    const { focus, press } = shortcut;
    if (events.length > 0 || focus || press) event.preventDefault();
    events.forEach(dispatch);
    if (focus) document.getElementById(focus).focus();
    if (press) document.getElementById(press).click();
  });

  return {
    update(next) {
      state = next;
    },
    destroy,
  };
}

/** The name of a key that is held with Alt and Shift, which may make it another letter. */
function nameOf({ key, code }) {
  return /^(?:Key|Digit)(.)$/.exec(code)?.[1] ?? { Space: " ", Comma: "," }[code] ?? key;
}

/** Whether the focused element does something with the key itself. */
function usesKey(target, key, pressed) {
  if (target.matches("textarea, input:not([type=checkbox], [type=radio], [type=range])"))
    return true;
  // In a list, letters and digits choose by name.
  if (target.matches("select")) return /^[\p{L}\p{N}]$/u.test(key) || key === " " || isArrow(key);
  if (key === " ") return target !== pressed && target.closest("button, input, a[href]") !== null;
  return (
    isArrow(key) &&
    target.closest("input, [role=tab], [role=application], [role=separator]") !== null
  );
}

const isArrow = (key) => key.startsWith("Arrow");
