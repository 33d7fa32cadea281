// Single-key shortcuts, listed in the settings. They are off in text fields and if switched off there, but
// not with Alt and Shift.

import { createListeners } from "./dom.js";
import { detectorOf } from "../core/boxes.js";
import { commandOf } from "../core/keys.js";
import { presetsOf } from "../core/prompt.js";
import { isFrozen, neighbourOf, stillOf } from "../core/view.js";

/** Each command with its label and the events it dispatches in a state; core/keys.js has its key. */
export const SHORTCUTS = [
  {
    id: "start",
    label: "Start or stop",
    events: () => [{ type: "start-pressed" }],
  },
  { id: "freeze", label: "Freeze, or back to live", events: () => [{ type: "freeze-pressed" }] },
  { id: "ask", label: "Ask about the picture", events: () => [], focus: "question-text" },
  {
    id: "earlier",
    label: "Earlier picture",
    events: (state) => toNeighbour(state, -1),
  },
  {
    id: "later",
    label: "Later picture, then live",
    events: (state) => toNeighbour(state, 1),
  },
  { id: "play", label: "Play or pause the video", events: () => [{ type: "play-pressed" }] },
  {
    id: "preset",
    label: "Questions of the list: about the frozen picture, or of every frame",
    events: (state, digit) => askPreset(state, digit),
  },
  {
    id: "mirror",
    label: "Mirror the picture",
    events: ({ settings }) => [change("mirror", !settings.mirror)],
  },
  {
    id: "boxes",
    label: "Boxes around things",
    events: (state) => (detectorOf(state) ? [change("boxes", !state.settings.boxes)] : []),
  },
  { id: "voice", label: "Voice on or off", events: () => [{ type: "voice-toggled" }] },
  {
    id: "now",
    label: "Say what is there now",
    events: ({ started }) => [{ type: started ? "now-asked" : "started" }],
  },
  { id: "again", label: "Say it again", events: () => [{ type: "again-asked" }] },
  {
    id: "detail",
    label: "Say more",
    events: () => [{ type: "detail-asked" }],
  },
  { id: "full", label: "Full screen", events: () => [], press: "full-screen" },
  { id: "larger", label: "Larger captions", events: (state) => [resize(state, 0.1)] },
  { id: "smaller", label: "Smaller captions", events: (state) => [resize(state, -0.1)] },
  { id: "timeline", label: "Timeline", events: () => [toggle("history")] },
  {
    id: "search",
    label: "Search the timeline",
    events: ({ panel, view }) =>
      panel === "history" ? [] : [{ type: "view-opened", stillId: view.stillId, panel: "history" }],
    focus: "timeline-words",
  },
  { id: "explain", label: "Explain the picture", events: () => [toggle("explain")] },
  { id: "settings", label: "Settings", events: () => [toggle("preferences")] },
  {
    id: "escape",
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
    const command = commandOf(state.settings.keys, named(name), isChord);
    if (!command) return;
    const shortcut = SHORTCUTS.find(({ id }) => id === command);
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

/** A key as the list names it, of an event with or without Alt and Shift. */
export const keyOf = (event) => named(event.altKey && event.shiftKey ? nameOf(event) : event.key);

const named = (name) => (/^[1-9]$/.test(name) ? "1-9" : (NAMES[name] ?? name.toUpperCase()));

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
