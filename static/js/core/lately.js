// The questions that were typed lately in this tab. Pure.

import { presetsOf } from "./prompt.js";
import { entriesOf } from "./session.js";

const SHOWN = 5;

let known = { entries: null, presets: null, asked: [] };

/** The newest typed questions of the session, the newest first, each once. */
export function latelyAsked(state) {
  const entries = entriesOf(state.session);
  const presets = presetsOf(state);
  if (known.entries === entries && known.presets === presets) return known.asked;
  const asked = new Set();
  for (let index = entries.length - 1; index >= 0 && asked.size < SHOWN; index -= 1) {
    const { prompt } = entries[index];
    if (prompt && entries[index].asked === prompt) asked.add(prompt);
  }
  known = { entries, presets, asked: [...asked] };
  return known.asked;
}
