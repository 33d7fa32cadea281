// The sounds beside the voice: which one an event has. Pure.

import { isFrozen } from "./view.js";
import { speakerOf } from "./voice.js";

/** The cue for the change from `before` to `state`, or null; io/earcons.js has the sound of each. */
export function cueOf(before, state) {
  if (before.settings.voice !== state.settings.voice) return state.settings.voice ? "on" : "off";
  if (speakerOf(state) !== "sightline") return null;
  if (state.started && before.camera.phase === "live" && state.camera.phase === "failed") {
    return "camera-lost";
  }
  const isDown = ({ server }) => ["gone", "failed"].includes(server.phase);
  if (isDown(state) && !isDown(before)) return "alert";
  if (isFrozen(state) && !isFrozen(before)) return "freeze";
  const begins = ({ request, asking, caption }) =>
    (request?.kind === "question" && request.step === "answering") ||
    (asking !== null && !caption.finished);
  return begins(state) && !begins(before) ? "answer" : null;
}
