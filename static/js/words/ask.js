// The texts of questions about a still. Pure.

import { areaOf, mirrored, placeOf } from "../core/geometry.js";
import { isMirrored } from "../core/source.js";
import { questionText } from "../core/prompt.js";
import { doubtsOf } from "../core/sure.js";
import { comparedTurn, forgets } from "../core/thread.js";
import { apart } from "../core/words-apart.js";
import { cutText, placeText, shareText, thingText } from "./boxes.js";
import { clockTime } from "./session.js";
import { doubtTexts } from "./sure.js";

/** From this share of the limit on, the length of a question is shown. */
const COUNTED_FROM = 0.75;

const FAILURES = {
  stopped: "Stopped before an answer came.",
  no_frame: "The picture could not be read. Freeze another one.",
  gone: "That picture is no longer here: the newest 20 are kept. Compare with another one.",
  falsified: "This browser falsifies pictures that a page reads, so the question was not sent.",
  model_failed: "The model could not be loaded. Choose another one, then ask again.",
};
const WAITS = {
  busy: "The server is busy. Your question waits.",
  loading: "The model is loading. Your question waits.",
  unreachable: "The server does not answer. Your question waits until it is back.",
  timeout: "The server took too long. Your question is asked again.",
};
/** Why a question waits that was not sent yet, by the server's phase. */
const NOT_SENT = {
  ready: "Waiting …",
  gone: WAITS.unreachable,
  failed: "The model could not be loaded. Choose another one: your question waits.",
};

/** How long a typed question is, once that matters; "" before. */
export function countText(length, limit) {
  if (length < limit * COUNTED_FROM) return "";
  const over = length - limit;
  return over > 0 ? `${length} of ${limit}: ${over} too many` : `${length} of ${limit}`;
}

/** A still among others: the file's name, or when it was taken. */
export const stillName = ({ isFile, source, clock }) => (isFile ? source : clockTime(clock));

/** A still at the beginning of a sentence. */
export const pictureOf = (still) =>
  still.isFile ? still.source : `Picture of ${clockTime(still.clock)}`;

/** What all questions in the panel are about. */
export function aboutText(still) {
  return still
    ? `${pictureOf(still)}. All questions here are about it.`
    : "Type a question: the picture stands still, and the answer comes here.";
}

/** A region of the picture: "bottom left, about a quarter of the picture". */
export function regionText(region, mirror) {
  const shown = mirror ? mirrored(region) : region;
  return `${placeText(placeOf(shown))}, ${shareText(areaOf(region))}`;
}

/**
 * The texts of a turn in the thread of `still`: { question, about, answer, other, doubts, note, isOpen }. `other`
 * is the answer that it is compared with, or null; `doubts` are as in core/sure.js.
 */
export function turnTexts(state, still, turn) {
  const { thread } = still;
  const { prompt, about, part, thing, detail, step, text } = turn;
  const other = state.stills.find(({ id }) => id === about && id !== still.id);
  const compared = comparedTurn(thread, turn, still.id)?.text.trim() ?? null;
  const marks = [
    part ? `Part: ${thing ? thingText(thing) : regionText(part, isMirrored(state))}` : "",
    other ? pictureOf(other) : "",
    detail === "high" ? "Fine detail" : "",
    other && compared !== null ? differenceText(text, compared) : "",
  ];
  return {
    question: questionText(state, prompt),
    about: marks.filter(Boolean).join(". "),
    answer: text.trim(),
    other: compared,
    doubts: doubtsOf(text, turn),
    note: noteOf(state, thread, turn),
    isOpen: ["waiting", "asked"].includes(step),
  };
}

function differenceText(text, other) {
  if (!apart(text, other).includes(true) && !apart(other, text).includes(true)) {
    return "The same words";
  }
  return "Words that differ are bold and underlined";
}

function noteOf({ server }, thread, turn) {
  const { step, error, cut, seconds, model, insteadOf, by } = turn;
  if (step === "failed") return FAILURES[error.kind] ?? error.message;
  if (step === "asked") return turn.text ? "" : "Asking …";
  if (step === "waiting") {
    return WAITS[error?.kind] ?? NOT_SENT[server.phase] ?? WAITS.loading;
  }
  const answerer = insteadOf ? `answered by ${model}, not by ${insteadOf}` : model;
  const maker = { finder: "object finder", reader: "text reader" }[by] ?? answerer;
  const took = Number.isFinite(seconds) ? `${seconds.toFixed(1)} s` : "";
  const forgot = forgets(thread, turn) ? "the first questions are no longer remembered" : "";
  return [maker, took, ...doubtTexts(turn), cutText(cut), forgot].filter(Boolean).join(" · ");
}
