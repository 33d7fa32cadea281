// Who says what is to be said, and what was said. Pure, as state.js.

import { restartCapture } from "./pace.js";
import { isOtherInUse } from "./tabs.js";
import { withTurn } from "./thread.js";
import { isFrozen, stillOf, viewHandlers } from "./view.js";

const DETAIL_PRESET = "detailed";
/** Messages that are listed. */
const LOG_LIMIT = 50;

export const initialVoice = {
  /** The voices of this computer: { id, name, lang, isDefault }; none that sends texts away. */
  voices: [],
  /** waiting (for the list) | ready | none | failed. */
  phase: "waiting",
  /** The kind of what is being said, or null. */
  saying: null,
  /** What was said, oldest first: { id, kind, text, lang, by, clock }, `by` reader | sightline. */
  log: [],
  lastLogId: 0,
  /** The newest command to the voice: { id, name: again | silence }. */
  command: { id: 0, name: "silence" },
};

/**
 * Who speaks: "sightline" by a voice of this computer, "elsewhere" (the same in another tab), "reader" (the
 * person's screen reader), or "nobody"; never two. Without a voice that works it is the screen reader.
 */
export function speakerOf(state) {
  const { settings, voice } = state;
  if (!settings.voice) return settings.announces ? "reader" : "nobody";
  if (["none", "failed"].includes(voice.phase)) return "reader";
  return isOtherInUse(state) ? "elsewhere" : "sightline";
}

/** The voice for a text in `lang`: the chosen one, else one of its language, else the system's. */
export function voiceFor({ settings, voice: { voices } }, lang) {
  const base = (tag) => tag.toLowerCase().split(/[-_]/)[0];
  return (
    voices.find(({ id }) => id === settings.voiceName) ??
    voices.find((one) => lang && base(one.lang) === base(lang)) ??
    voices.find(({ isDefault }) => isDefault) ??
    voices[0] ??
    null
  );
}

export const voiceHandlers = {
  /** `voices` are those of this computer; empty if none came for a while. */
  "voices-listed"(state, { voices }) {
    const phase = voices.length > 0 ? "ready" : "none";
    return withVoice(state, { voices, phase });
  },

  "voice-failed"(state) {
    return withVoice(state, { phase: "failed", saying: null });
  },

  /** "Try again" was pressed. */
  "voice-retried"(state) {
    const phase = state.voice.voices.length > 0 ? "ready" : "none";
    return withVoice(state, { phase });
  },

  "voice-toggled"(state) {
    return { ...state, settings: { ...state.settings, voice: !state.settings.voice } };
  },

  "speaker-chosen"(state, { who }) {
    const announces = who === "sightline" ? state.settings.announces : who === "reader";
    return { ...state, settings: { ...state.settings, voice: who === "sightline", announces } };
  },

  "saying-changed"(state, { kind }) {
    return withVoice(state, { saying: kind });
  },

  said(state, { kind, text, lang, by, clock }) {
    const id = state.voice.lastLogId + 1;
    const log = [...state.voice.log, { id, kind, text, lang, by, clock }].slice(-LOG_LIMIT);
    return withVoice(state, { log, lastLogId: id });
  },

  /** The safety sentence was said on `day`. */
  "safety-said"(state, { day }) {
    return { ...state, settings: { ...state.settings, safetyDay: day } };
  },

  /** What is there now: a fresh caption, told as an answer. */
  "now-asked"(state, event) {
    const { at } = event;
    const live = isFrozen(state) ? viewHandlers["freeze-pressed"](state, event) : state;
    const silent = commanded(live, "silence");
    if (!state.started) return silent;
    return restartCapture({ ...silent, answeredPrompt: null }, at);
  },

  /** More of what is in view, told once. */
  "detail-asked"(state, { at }) {
    const silent = commanded(state, "silence");
    const still = stillOf(state);
    const question = { prompt: detailPrompt(state), reading: null };
    if (still) return withTurn({ ...silent, panel: "ask" }, still.id, question);
    return state.started ? withDetails(silent, at) : silent;
  },

  /** "Follow the scene": what has rested for a while is told in detail. */
  "details-due"(state, { at }) {
    return state.started && !isFrozen(state) ? withDetails(state, at) : state;
  },

  "again-asked": (state) => commanded(state, "again"),
  "voice-silenced": (state) => commanded(state, "silence"),
};

/** `state` in which the next frame is asked once for all details. */
const withDetails = (state, at) => restartCapture({ ...state, inDetail: true }, at);

/** What is asked for more of what is there: the server's preset, else its first one. */
export function detailPrompt({ server }) {
  const presets = server.status?.presets ?? [];
  return (presets.find(({ id }) => id === DETAIL_PRESET) ?? presets[0])?.prompt ?? null;
}

/** What R says again: the last caption or answer, or null. */
export const lastWords = ({ voice }) =>
  voice.log.findLast(({ kind }) => ["answer", "caption"].includes(kind)) ?? null;

const commanded = (state, name) =>
  withVoice(state, { command: { id: state.voice.command.id + 1, name } });

const withVoice = (state, fields) => ({ ...state, voice: { ...state.voice, ...fields } });
