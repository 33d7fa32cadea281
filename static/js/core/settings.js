// The settings: their defaults, which values are valid, and what a change of one means for the rest of the
// state. Captions are never among them. Pure, as state.js.

import { openCamera } from "./camera.js";
import { choiceOf } from "./devices.js";
import { LENGTHS, maxTokensOf } from "./length.js";
import { restartCapture } from "./pace.js";
import { promptOf, readingOf } from "./prompt.js";
import { claimsOf } from "./sure.js";

const oneOf =
  (...values) =>
  (value) =>
    values.includes(value);
const between = (low, high) => (value) => Number.isFinite(value) && value >= low && value <= high;
const text = (maxLength) => (value) => typeof value === "string" && value.length <= maxLength;
const boolean = (value) => typeof value === "boolean";
/** Of a panel beside the picture, in pixels. */
export const PANEL_WIDTHS = [320, 560];
/** Of the field for labels: more than the server takes, so that too many can be shortened. */
export const LABELS_TEXT_CHARS = 40_000;
const language = (value) => typeof value === "string" && /^(\w{2,3}(-\w{2,8})*)?$/.test(value);

/** Each setting's default value and its check. */
const SETTINGS = {
  // Off, so that "left" in a caption is left on the screen: the camera faces a scene, not the user.
  mirror: [false, boolean],
  theme: ["auto", oneOf("auto", "light", "dark")],
  panelWidth: [400, between(...PANEL_WIDTHS)],
  captionScale: [1, between(0.6, 2.5)],
  intervalS: [0.5, between(0, 60)],
  /** Captions go on while the page is hidden. */
  background: [false, boolean],
  length: ["medium", oneOf(...LENGTHS)],
  jpegQuality: [0.8, between(0.3, 1)],
  /** A preset's id, or "" for the server's first preset. */
  preset: ["", text(64)],
  /** Whether `ownPrompt`, unless empty, is used instead of the preset. */
  asksOwn: [false, boolean],
  ownPrompt: ["", text(4_000)],
  /** Own labels of a still, one a line, and whether they exclude each other. */
  labels: ["", text(LABELS_TEXT_CHARS)],
  labelMode: ["one", oneOf("one", "many")],
  /** Whether the dual encoder answers beside the model. */
  labelPair: [false, boolean],
  /** The labels that are shown as gauges under live captions. */
  pinned: ["", text(LABELS_TEXT_CHARS)],
  pinnedMode: ["one", oneOf("one", "many")],
  /** Whether the model is asked about what its captions name, and what it denies is marked or left out. */
  claims: ["off", oneOf("off", "mark", "strict")],
  /** How strong the heat over a still is, and whether it has the lines of its cells. */
  heat: [0.7, between(0.1, 1)],
  heatGrid: [false, boolean],
  /** The language (BCP 47) in which the model answers, "" if it is unknown. */
  answerLanguage: ["", language],
  /** The chosen camera, "" for any; its label; whether another camera has the same label. */
  deviceId: ["", text(512)],
  deviceLabel: ["", text(512)],
  deviceIsTwin: [false, boolean],
  shortcuts: [true, boolean],
  /** The keys that are not the commands' own; see keys.js. */
  keys: ["", text(2_000)],
  /** Boxes around the things in the picture, and a tone for the one that is looked for. */
  boxes: [false, boolean],
  findTone: [false, boolean],
  /** Sightline speaks by a voice of this computer; else what happens is told to screen readers. */
  voice: [false, boolean],
  announces: [true, boolean],
  /** Which captions are told, and how much of them. */
  voiceWhen: ["changes", oneOf("request", "changes", "all")],
  voiceMuch: ["all", oneOf("few", "sentence", "all", "follow")],
  voiceRate: [1, between(0.5, 3)],
  /** A voice's id, "" for one in the text's language. */
  voiceName: ["", text(512)],
  /** Silence between two captions, in seconds. */
  voicePauseS: [1, between(0, 10)],
  sounds: [true, boolean],
  vibrates: [true, boolean],
  /** The day (YYYY-MM-DD) on which the safety sentence was last said. */
  safetyDay: ["", text(10)],
  /** Nobody has followed the hint to models for real scenes yet. */
  modelHint: [true, boolean],
  /** Who answers the preset that reads text. */
  reading: ["reader", oneOf("reader", "model", "both")],
};

/** What each tab has for itself: its camera, and what it asks. */
const OF_A_TAB = [
  "deviceId",
  "deviceLabel",
  "deviceIsTwin",
  "preset",
  "asksOwn",
  "ownPrompt",
  "labels",
  "labelMode",
  "pinned",
  "pinnedMode",
];

/** The settings that differ between `before` and `after`. */
export function changesOf(before, after) {
  const names = Object.keys(after).filter((name) => after[name] !== before[name]);
  return Object.fromEntries(names.map((name) => [name, after[name]]));
}

/** The changes of another tab that hold here too. */
export const sharedOf = (changes) =>
  Object.fromEntries(Object.entries(changes).filter(([name]) => !OF_A_TAB.includes(name)));

/** A full set of settings from any value: missing and invalid ones get their defaults. */
export function validSettings(candidate) {
  const entries = Object.entries(SETTINGS).map(([name, [standard, isValid]]) => {
    const value = candidate?.[name];
    return [name, isValid(value) ? value : standard];
  });
  return Object.fromEntries(entries);
}

export const settingsHandlers = {
  "setting-changed"(state, { name, value, at }) {
    const question = (of) => `${readingOf(of)} ${maxTokensOf(of)} ${claimsOf(of)} ${promptOf(of)}`;
    const changes = name === "deviceId" ? choiceOf(state.camera.devices, value) : { [name]: value };
    const settings = validSettings({ ...state.settings, ...changes });
    const next = { ...state, settings };
    if (name === "deviceId") return withChosenCamera(next, at);
    if (name === "intervalS") {
      const captureAt = Math.min(state.pace.captureAt, at + settings.intervalS * 1000);
      return { ...next, pace: { ...state.pace, captureAt } };
    }
    return question(next) === question(state) ? next : restartCapture(next, at);
  },

  "settings-kept"(state, { isKept }) {
    return state.keepsSettings === isKept ? state : { ...state, keepsSettings: isKept };
  },

  /** Another tab of this page has changed settings. */
  "settings-merged"(state, { changes }) {
    return { ...state, settings: validSettings({ ...state.settings, ...changes }) };
  },
};

function withChosenCamera(state, at) {
  const { started, camera, settings } = state;
  if (!started) return state;
  const isOpen = camera.phase === "live" && settings.deviceId === camera.deviceId;
  return isOpen ? { ...state, camera: { ...camera, isStandIn: false } } : openCamera(state, at);
}
