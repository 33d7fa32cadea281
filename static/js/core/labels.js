// A person's own labels for the still in view, and how likely the model finds each. Pure, as state.js.
//
// A still's `labels`: null, or { step, text, mode, part, found, none, calibrated, model, seconds, modelSeconds, pair,
// error } of the
// last ones. step: asked | done | failed. `text` and `mode` are the settings that were asked with, `part` the
// region of the still or null. Of finished ones, `found` is [{ label, probability }], the likeliest first, `none` the
// probability that none fits, null if unknown, `model` the one that answered, `modelSeconds` what it took of `seconds`, `pair` null or what the dual encoder
// says, { model, labels, seconds, problem }; `error` is { kind, message }.

import { titleOf } from "./server.js";
import { stillOf, withStill } from "./view.js";

/** As the server takes them. */
export const MAX_LABELS = 200;
export const MAX_LABEL_CHARS = 80;

export const initialLabels = {
  /** The labels in flight: { id, stillId }, or null. */
  labelling: null,
  lastLabellingId: 0,
};

/** The labels in `text`, as the server reads them: one a line, or in one line with commas between; each once. */
export function labelsOf(text) {
  const isOneLine = !/[\n\r]/.test(text.trim());
  const given = text.split(isOneLine ? "," : /\r\n|\n|\r/).map((label) => {
    const names = label.split("|").map((name) => name.trim().replace(/\s+/g, " "));
    return names.filter(Boolean).join("|");
  });
  return [...new Set(given.filter(Boolean))];
}

/** Why labels cannot be asked, { kind: none | many | long, count, label }, or null. */
export function labelProblem(labels) {
  if (labels.length === 0) return { kind: "none", count: 0, label: "" };
  if (labels.length > MAX_LABELS) return { kind: "many", count: labels.length, label: "" };
  // In code points, as the server counts.
  const long = labels.find((label) => [...label].length > MAX_LABEL_CHARS);
  return long === undefined ? null : { kind: "long", count: [...long].length, label: long };
}

/** Whether the model can score given answers: those of other servers cannot. */
export const canLabel = ({ server }) => !server.status?.remote;

/** Whether the labels of the settings can be asked about the still in view now. */
export function mayLabel(state) {
  const isReady = state.server.phase === "ready" && canLabel(state);
  return isReady && stillOf(state) !== null && !labelProblem(labelsOf(state.settings.labels));
}

/** Whether the labels of the settings can be pinned to the live picture. */
export const mayPin = (state) => canLabel(state) && !labelProblem(labelsOf(state.settings.labels));

/** `state` without labels in flight; `fields` are then those of their still's labels. */
function ended(state, fields) {
  const { stillId } = state.labelling;
  const still = state.stills.find(({ id }) => id === stillId);
  const next = { ...state, labelling: null };
  return still ? withStill(next, { ...still, labels: { ...still.labels, ...fields } }) : next;
}

const STOPPED = { step: "failed", error: { kind: "stopped", message: "" } };

export const labelsHandlers = {
  "labels-asked"(before) {
    if (!mayLabel(before)) return before;
    const state = before.labelling ? ended(before, STOPPED) : before;
    const still = stillOf(state);
    const { labels: text, labelMode: mode, labelPair: withPair } = state.settings;
    const id = state.lastLabellingId + 1;
    const labels = { step: "asked", text, mode, withPair, part: still.part, error: null };
    const next = { ...state, labelling: { id, stillId: still.id }, lastLabellingId: id };
    return withStill(next, { ...still, labels });
  },

  /** `answer` is as in fetchLabels of io/api.js. */
  "labels-done"(state, { id, answer, seconds }) {
    if (state.labelling?.id !== id) return state;
    const { labels: found, none, calibrated, model, pair = null } = answer;
    const modelSeconds = answer.seconds ?? seconds;
    const who = { model: titleOf(state, model), seconds, modelSeconds };
    const fields = { found, none, calibrated, pair, ...who };
    return ended(state, { step: "done", ...fields });
  },

  "labels-failed"(state, { id, kind, message }) {
    if (state.labelling?.id !== id) return state;
    return ended(state, { step: "failed", error: { kind, message } });
  },

  "labels-stopped"(state) {
    return state.labelling ? ended(state, STOPPED) : state;
  },
};
