// The texts of the panel that explains. Pure.

import { gaugesOf, likeliestOf } from "../core/gauges.js";
import { canLabel, labelProblem, labelsOf, MAX_LABEL_CHARS, MAX_LABELS } from "../core/labels.js";
import { isMirrored } from "../core/source.js";
import { isStillGone, stillOf } from "../core/view.js";
import { pictureOf, regionText } from "./ask.js";
import { percentText } from "./sure.js";

/** What is said of a failure of what is asked about a still, by its kind. */
export const FAILURES = {
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
export function explainText(state, at) {
  const still = stillOf(state);
  if (still) return `${pictureOf(still)}.`;
  if (state.view.freezing) return "Taking the picture …";
  if (isStillGone(state, at)) {
    return "That picture is no longer here; only its words were kept. Freeze another one.";
  }
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
 * What came of the labels of the still in view: { note, bars, about, pair }. `note` is for a person who does not see the
 * bars, too; `bars` are [{ label, probability, isNone, pair }], `pair` what the dual encoder says, or null; `about` is
 * what is to be known of them.
 */
export function labelsAnswer(state) {
  const asked = stillOf(state)?.labels;
  if (!asked) return { note: "", bars: [], about: "", pair: null };
  const { step, error, found, none, pair } = asked;
  if (step === "asked") {
    return {
      note: `Asking about ${countOf(labelsOf(asked.text))} …`,
      bars: [],
      about: "",
      pair: null,
    };
  }
  if (step === "failed") {
    return { note: FAILURES[error.kind] ?? error.message, bars: [], about: "", pair: null };
  }
  const theirs = new Map((pair?.labels ?? []).map((one) => [one.label, one.probability]));
  const bars = found.map(({ label, probability }) => ({
    ...{ label: label.replaceAll("|", " | "), probability },
    ...{ isNone: false, pair: theirs.get(label) ?? null },
  }));
  if (none !== null) bars.push({ ...NONE, probability: none, isNone: true, pair: null });
  const likeliest = bars.reduce((one, other) =>
    other.probability > one.probability ? other : one,
  );
  const note = `Likeliest: ${likeliest.label}, ${percentText(likeliest.probability)}.`;
  const compared = pairTexts(asked, likeliest);
  return {
    note: `${note} ${compared?.agreement ?? ""}`.trim(),
    bars,
    about: aboutAnswer(state, asked),
    pair: compared,
  };
}

const NONE = { label: "none of these" };
const LIMITS = [
  "What each cannot do: the dual encoder sees the picture as a whole. It hardly tells “red star, blue circle” from",
  "“blue star, red circle”, and neither counts nor reads well. Its numbers stand for each label alone and know no “none of",
  "these”. The model reads the parts of the picture and tells such pairs apart better, but takes longer, and a small one",
  "miscounts many things and misreads small text.",
].join(" ");

/** What the dual encoder says beside the model: { names, agreement, about }, or null if it was not asked. */
function pairTexts({ pair, model, modelSeconds }, likeliest) {
  if (!pair) return null;
  if (pair.labels.length === 0) {
    return {
      names: null,
      agreement: "",
      about: `The dual encoder does not answer. ${pair.problem}`,
    };
  }
  const [{ label, probability }] = pair.labels;
  const theirs = label.replaceAll("|", " | ");
  const isSame = theirs === likeliest.label;
  const agreement = isSame
    ? `The dual encoder agrees, ${percentText(probability)}.`
    : `The dual encoder differs: ${theirs}, ${percentText(probability)}.`;
  const times = `${model} took ${secondsText(modelSeconds)}, ${pair.model} ${secondsText(pair.seconds)}.`;
  return { names: [model, pair.model], agreement, about: `${times} ${LIMITS}` };
}

const secondsText = (seconds) => `${seconds.toFixed(seconds < 0.095 ? 3 : 1)} s`;

/** The pinned labels under the live caption: { bars, note }; `bars` is [] if nothing is known yet. */
export function gaugesTexts(state) {
  const found = gaugesOf(state);
  const bars = found ? likeliestOf(found) : [];
  const named = bars.map((one) => ({
    ...one,
    label: one.isNone ? NONE.label : one.label.split("|")[0],
  }));
  return { bars: named, note: gaugesNote(state, found) };
}

function gaugesNote(state, found) {
  const { gauges, server } = state;
  if (!canLabel(state) || (gauges.unable !== null && gauges.unable === server.status?.model)) {
    return "This model tells no probabilities of the pinned labels.";
  }
  if (gauges.failures > 1) return `The pinned labels are not answered. ${gauges.problem}`.trim();
  if (!found) return "The pinned labels are asked about …";
  return found.calibrated ? "" : "Uncalibrated: an order, not shares.";
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
