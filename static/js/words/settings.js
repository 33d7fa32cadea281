// The texts of the settings. Pure.

import { keyText } from "../core/keys.js";
import { hasOtherTab } from "../core/tabs.js";

/** What holds for all settings: a sentence each. */
export function settingsNotes(state) {
  const notes = [];
  if (!state.keepsSettings) {
    notes.push(
      "This browser keeps nothing for the page: changes here last until the page is closed or reloaded. " +
        "To keep them, allow this address to store data, or leave the private window.",
    );
  }
  if (hasOtherTab(state)) {
    notes.push(
      "The page is open in another tab too. Both share these settings, but each has its own camera and question.",
    );
  }
  return notes;
}

/** What runs: "Sightline 1.0 running nano, cpu, float32". */
export function aboutText(status) {
  if (!status) return "";
  const { model, device, dtype, runtime, version } = status;
  const engine = [model, device, dtype, runtime].filter(Boolean).join(", ");
  return `Sightline ${version ?? ""} running ${engine}`;
}

/** What a button does, with the key that does the same, if it has one. */
export function keyHint({ settings }, command, text) {
  const key = keyText(settings.keys, command);
  return key ? `${text} (${key})` : text;
}
