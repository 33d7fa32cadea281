// The texts of the voice: what it says besides captions, and its settings. Pure.

import { keyText } from "../core/keys.js";
import { lastMoment } from "../core/session.js";
import { speakerOf } from "../core/voice.js";
import { spokenCaption } from "./boxes.js";

export const SAFETY = "Captions may be wrong. Do not find your way by them.";

/** A longer question is told by its first words. */
const GIST_WORDS = 6;
const ASKING_FOR = /^(is|are)\s+there\s+((an?|any|some)\s+)?/i;

/** What is told of the caption on the screen; an answer to a typed question begins with its gist. */
export function toldCaption(state) {
  const caption = spokenCaption(state.compared ?? state.caption);
  const moment = lastMoment(state.session);
  const isTyped = moment && moment.asked === moment.prompt;
  if (!caption.isAnswer || caption.thing || !isTyped || !caption.text.trim()) return caption;
  return { ...caption, text: `${gistOf(moment.asked)} ${caption.text.trim()}` };
}

/** The gist of a question: "Is there a red triangle?" becomes "Red triangle?". */
export function gistOf(question) {
  const words = question
    .trim()
    .replace(ASKING_FOR, "")
    .replace(/[\s?.!]+$/, "")
    .split(/\s+/);
  const gist = words.slice(0, GIST_WORDS).join(" ");
  const end = words.length > GIST_WORDS ? " …" : "?";
  return `${gist.charAt(0).toUpperCase()}${gist.slice(1)}${end}`;
}

/** What is told when another one begins to speak, or "". */
export function speakerText(before, state) {
  const now = speakerOf(state);
  const isOther = [before, now].includes("elsewhere");
  if (before === null || now === before || isOther) return "";
  if (now === "sightline") {
    return `Voice on. ${commandsText(state)}`;
  }
  if (state.settings.voice) return voiceHint(state);
  return before === "sightline" ? "Voice off." : "";
}

/** The commands whose keys are on, as the person has them. */
function commandsText({ started, settings }) {
  const says = {
    ...(started ? {} : { start: "starts captions" }),
    ...{ now: "says what is there", again: "says it again", detail: "tells more" },
  };
  const told = Object.entries(says)
    .map(([id, does]) => [keyText(settings.keys, id), does])
    .filter(([key]) => key)
    .map(([key, does]) => `${key} ${does}`);
  return `${[...told, "Escape silences"].join(", ")}.`;
}

/** What the button of the voice is called. */
export function voiceLabel(state) {
  const { settings, voice } = state;
  if (!settings.voice) return "Voice: off";
  if (speakerOf(state) === "elsewhere") return "Voice: in another tab";
  return voice.saying ? "Voice: speaking" : "Voice: on";
}

/** What is to be known about the chosen speaker, or "". */
export function voiceHint(state) {
  const { settings, voice } = state;
  if (!settings.voice) return "";
  if (speakerOf(state) === "elsewhere") {
    return "Another tab of this page speaks, since it was used last. Press a key here, and this one does.";
  }
  if (voice.phase === "none") {
    return "This browser has no voice of this computer, so your screen reader is told instead.";
  }
  if (voice.phase === "failed") {
    return "The voice of this browser does not answer, so your screen reader is told instead.";
  }
  return "";
}

/** The formats of the sliders' values, by setting. */
export const VOICE_FORMATS = {
  voiceRate: (value) => `${value.toFixed(1)} times`,
  voicePauseS: (value) => (value === 1 ? "1 second" : `${value} seconds`),
};
