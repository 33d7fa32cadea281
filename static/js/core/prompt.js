// What live frames are asked. Pure, as state.js.

/** The id of the server's preset that reads text. */
const READ_PRESET = "read";

export const presetsOf = ({ server }) => server.status?.presets ?? [];

/** The prompt for the next frame, or null until the server has sent its presets. */
export function promptOf(state) {
  return ownPrompt(state) || (presetOf(state)?.prompt ?? null);
}

const ownPrompt = ({ settings }) => (settings.asksOwn ? settings.ownPrompt.trim() : "");

function presetOf(state) {
  const presets = presetsOf(state);
  return presets.find(({ id }) => id === state.settings.preset) ?? presets[0];
}

/** Who reads text, if the next frame is asked for its text, else null. */
export function readingOf(state) {
  const reads = !ownPrompt(state) && presetOf(state)?.id === READ_PRESET;
  return reads ? state.settings.reading : null;
}

/** A question as a person reads it: a preset by its label. */
export function questionText(state, prompt) {
  return presetsOf(state).find((one) => one.prompt === prompt)?.label ?? prompt;
}

/** The question of a moment as a person reads it; "" for the server's first preset. */
export const askedOf = (state, prompt) =>
  prompt === firstPrompt(state) ? "" : questionText(state, prompt);

/** The server's first preset, which any model can answer, or null. */
export const firstPrompt = (state) => presetsOf(state)[0]?.prompt ?? null;
