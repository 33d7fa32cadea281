// The view in the page's address, one entry of the browser's history for each step into it, so that
// "Back" closes a panel, then leaves a still, and leaves the page only once captions are stopped. Pure.

import { isFrozen } from "./view.js";

const PANELS = ["history", "ask", "explain", "voice", "source", "preferences"];

/** The addresses of the steps into the present view, outermost first: "", "#live", "#m/3", "#m/3/ask". */
export function stepsOf(state) {
  const { started, panel, view } = state;
  const steps = [""];
  if (started) steps.push("#live");
  if (isFrozen(state)) steps.push(`#m/${view.stillId ?? view.freezing.id}`);
  if (panel) steps.push(`${steps.at(-1) || "#off"}/${panel}`);
  return steps;
}

/** What an address names: { stillId, panel }, each null if it names none. */
export function viewOf(hash) {
  const [kind = "", ...rest] = hash.replace(/^#/, "").split("/");
  const stillId = kind === "m" ? Number(rest.shift()) || null : null;
  const panel = PANELS.find((name) => name === rest[0]) ?? null;
  return { stillId, panel };
}
