// The texts of the panel that explains. Pure.

import { canLabel, labelProblem, labelsOf, MAX_LABEL_CHARS, MAX_LABELS } from "../core/labels.js";
import { isMirrored } from "../core/source.js";
import { stillOf } from "../core/view.js";
import { pictureOf, regionText } from "./ask.js";
import { percentText } from "./sure.js";

const FAILURES = {
  stopped: "Stopped before an answer came.",
  no_frame: "The picture could not be read. Freeze another one.",
  busy: "The server is busy. Try again in a moment.",
  loading: "The model is loading. Try again when it is ready.",
  timeout: "The model took too long. Try fewer labels.",
  unreachable: "The server does not answer. Try again when it is back.",
  model_failed: "The model could not be loaded. Choose another one, then try again.",
};
const WAITS = {
  loading: "The model is loading.",
  failed: "The model could not be loaded. Choose another one first.",
};
const MODES = { one: "One of them", many: "Any of them" };

/** What the panel is about. */
export function explainText(state) {
  const still = stillOf(state);
  if (still) return `${pictureOf(still)}.`;
  if (state.view.freezing) return "Taking the picture …";
  return "Explaining needs a picture that stands still.";
}

/**
 * What is to be known of the labels before they are asked: why they cannot be, or how many there are.
 * `isProblem` tells that the text has to be changed.
 */
export function labelsHint(state) {
  const hint = (text, isProblem = false) => ({ text, isProblem });
  if (!canLabel(state)) {
    const why = "The model runs on another server, which tells no probabilities of given labels.";
    return hint(`${why} A model on this computer does.`);
  }
  const labels = labelsOf(state.settings.labels);
  const problem = labelProblem(labels);
  if (problem?.kind === "none") return hint("Write at least one label.");
  if (problem) return hint(problemText(problem), true);
  const { phase } = state.server;
  if (phase !== "ready") return hint(WAITS[phase] ?? FAILURES.unreachable);
  return hint(countOf(labels));
}

const countOf = ({ length }) => (length === 1 ? "1 label" : `${length} labels`);

function problemText({ kind, count, label }) {
  if (kind === "many") return `${count} labels: at most ${MAX_LABELS} are taken. Leave some out.`;
  const start = [...label].slice(0, 24).join("");
  return `“${start}…” has ${count} characters: at most ${MAX_LABEL_CHARS} are taken. Make it shorter.`;
}

/**
 * What came of the labels of the still in view: { note, bars, about }. `note` is for a person who does not see the
 * bars, too; `bars` are [{ label, probability, isNone }]; `about` is what is to be known of them.
 */
export function labelsAnswer(state) {
  const asked = stillOf(state)?.labels;
  if (!asked) return { note: "", bars: [], about: "" };
  const { step, error, found, none } = asked;
  if (step === "asked") {
    return { note: `Asking about ${countOf(labelsOf(asked.text))} …`, bars: [], about: "" };
  }
  if (step === "failed") {
    return { note: FAILURES[error.kind] ?? error.message, bars: [], about: "" };
  }
  const bars = found.map(({ label, probability }) => ({
    ...{ label: label.replaceAll("|", " | "), probability },
    isNone: false,
  }));
  if (none !== null) bars.push({ label: "none of these", probability: none, isNone: true });
  const likeliest = bars.reduce((one, other) =>
    other.probability > one.probability ? other : one,
  );
  const note = `Likeliest: ${likeliest.label}, ${percentText(likeliest.probability)}.`;
  return { note, bars, about: aboutAnswer(state, asked) };
}

function aboutAnswer(state, { text, mode, part, calibrated, model, seconds }) {
  const { settings } = state;
  const isOld = text !== settings.labels || mode !== settings.labelMode;
  const uncalibrated =
    "Uncalibrated: take the numbers as an order, not as shares. How likely none of them fits is not known.";
  return [
    isOld ? `Of the labels as they were, ${MODES[mode].toLowerCase()}.` : "",
    part ? `Of a part: ${regionText(part, isMirrored(state))}.` : "",
    calibrated ? "" : uncalibrated,
    `${model}, ${seconds.toFixed(1)} s.`,
  ]
    .filter(Boolean)
    .join(" ");
}
