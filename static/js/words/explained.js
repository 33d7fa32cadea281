// The texts of the words of an answer: what each looked at, and how sure it is. Pure.

import { answerOf, chosenUnit, hindrance, unitsOf, wordsInView } from "../core/explained.js";
import { hotPlaces, placeIn } from "../core/heat.js";
import { isMirrored } from "../core/source.js";
import { gradeOf } from "../core/sure.js";
import { stillOf } from "../core/view.js";
import { cutText, placeText } from "./boxes.js";
import { dateText, clockTime } from "./session.js";
import { cell } from "./session-files.js";
import { GRADES, percentText, quoted } from "./sure.js";

const FAILURES = {
  stopped: "Stopped.",
  no_frame: "The picture could not be read. Freeze another one.",
  busy: "The server is busy. Try again in a moment.",
  loading: "The model is loading. Try again when it is ready.",
  timeout: "The model took too long. Try again.",
  unreachable: "The server does not answer. Try again when it is back.",
  model_failed: "The model could not be loaded. Choose another one, then try again.",
  empty: "The model has said nothing that can be explained.",
};
const HINDRANCES = {
  live: "Freeze the picture to see what each word looked at, and how sure the model is of it.",
  waiting: "The words come when the picture has an answer.",
  finder: "The object finder made this answer. Only the model’s own words can be explained.",
  reader: "The text reader made this answer. Only the model’s own words can be explained.",
  other:
    "Another model made this answer. The one that runs now can say what its own words look at.",
  server: "The model is not ready. Words are explained when it is.",
};
/** Requests of an estimate, as the server makes them. */
const ESTIMATE_REQUESTS = 16;

/**
 * The state of the explanation: { note, button, kind, isBusy }. `button` is the text of the button below the note, "" for
 * none; a press asks for `kind`, or cancels while `isBusy`.
 */
export function explanation(state) {
  const words = wordsInView(state);
  const why = hindrance(state);
  const none = { button: "", kind: "looks", isBusy: false };
  if (words?.asked)
    return { ...none, note: askedText(words.asked), button: "Cancel", isBusy: true };
  if (["live", "waiting", "finder", "reader", "server"].includes(why) && !words?.answers.length) {
    return { ...none, note: HINDRANCES[why] };
  }
  const isEstimated = why === "remote" || words?.error?.kind === "not_supported";
  const kind = isEstimated ? "estimate" : "looks";
  const button = isEstimated ? "Estimate" : "Explain";
  if (words?.error) {
    const { kind: how, message } = words.error;
    const isOver = words.answers.length > 0;
    const note =
      isEstimated && how === "not_supported" ? estimateText(state) : failureText(how, message);
    return { ...none, kind, note, button: isOver ? "" : button };
  }
  if (words) return { ...none, note: "" };
  if (why === "other") return { ...none, kind, note: HINDRANCES.other, button };
  return isEstimated ? { ...none, kind, note: estimateText(state), button } : { ...none, note: "" };
}

const failureText = (kind, message) => FAILURES[kind] ?? message;

function askedText({ kind }) {
  if (kind === "estimate")
    return `Asking ${ESTIMATE_REQUESTS} times without a part of the picture …`;
  if (kind === "hiding") return "Asking without that part …";
  return kind === "begin" ? "Going on from there …" : "Asking what each word looked at …";
}

function estimateText(state) {
  const turn = stillOf(state).thread.findLast(({ step }) => step === "done");
  const seconds = turn?.seconds ? Math.max(1, Math.round(turn.seconds * ESTIMATE_REQUESTS)) : 0;
  const took = seconds ? `, about ${seconds} s` : "";
  const why = state.server.status?.remote
    ? "The model runs on another server, which does not tell what it looked at."
    : "This model does not tell what it looked at.";
  return `${why} It can be estimated by hiding parts: ${ESTIMATE_REQUESTS} more requests${took}.`;
}

/** The buttons of the words or pieces: [{ text, label, grade }]; `label` is for screen readers. */
export function unitTexts(words) {
  const answer = answerOf(words);
  return unitsOf(answer, words.pieces).map(({ text, probability, isChosen }) => {
    const grade = gradeOf(probability);
    const own = isChosen ? ", your choice" : "";
    return {
      text,
      grade,
      isChosen,
      label: `${text}, ${GRADES[grade]}, ${percentText(probability)}${own}`,
    };
  });
}

/** What is to be known of the chosen word: sentences, or how to choose one. */
export function chosenText(state) {
  const words = wordsInView(state);
  if (!answerOf(words)) return "";
  const unit = chosenUnit(words);
  if (!unit) return "Choose a word.";
  const { probability, isChosen } = unit;
  const sure = isChosen ? "your choice" : GRADES[gradeOf(probability)];
  return `${lookedText(state, unit)} ${percentText(probability)}, ${sure}.`.trim();
}

function lookedText(state, { text, map }) {
  const { grid, region, method } = answerOf(wordsInView(state));
  if (!map) return `${quoted(text)}:`;
  const places = hotPlaces(grid, map).map((one) => placeIn(region, one));
  const isShown = isMirrored(state);
  const names = places.map((place) => placeText(place, isShown));
  const where = [...new Set(names)].map((name) =>
    name === "middle" ? "in the middle" : `at the ${name}`,
  );
  const isEstimate = method === "occlusion";
  if (where.length === 0) {
    return `${quoted(text)} ${isEstimate ? "depends on no part" : "looked nowhere"} in particular.`;
  }
  const verb = isEstimate ? "depends mostly on what is" : "looked mostly";
  return `${quoted(text)} ${verb} ${where.join(" and ")}.`;
}

/** The likely other words in place of the chosen one: [{ text, probability, token, other, isOpen, label }]. */
export function otherTexts(state) {
  const others = chosenUnit(wordsInView(state))?.others ?? [];
  return others.map((one) => {
    const text = one.isEnd ? "(the end)" : one.text || "(a blank)";
    const isOpen = one.token !== null && !state.server.status?.remote;
    return {
      ...one,
      text,
      isOpen,
      label: `Go on from ${quoted(one.text)}, ${percentText(one.probability)}`,
    };
  });
}

/** What hiding showed of the chosen word, or "". */
export function hiddenText(words) {
  if (!words?.hidden) return "";
  const { before, after, cells } = words.hidden;
  if (cells.length === 0) return "It looked nowhere in particular, so nothing was hidden.";
  return `Without that part: ${percentText(before)} → ${percentText(after)}.`;
}

/** How the heat was made, and how often it points at the thing; "" without an answer. */
export function methodText(state) {
  const answer = answerOf(wordsInView(state));
  if (!answer) return "";
  const { method, model, seconds, cut, text } = answer;
  const first = wordsInView(state).answers[0];
  const given = stillOf(state).thread.findLast(
    ({ step, about }) => step === "done" && about === stillOf(state).id,
  );
  const isOther = answer === first && given.text.trim() !== text.trim();
  const how = {
    attention:
      "Heat is what the model attended to before it wrote the word, less what it attends to at marks. " +
      "On drawn scenes the maximum lay on the thing that nano named in 99.6 % of 680 cases (by chance 8 %); " +
      "of other models it is not measured.",
    occlusion:
      "An estimate: how much less likely the word is if a part of the picture is painted over. It is coarse, 4 x 4 parts.",
  }[method];
  return [
    answer === first
      ? ""
      : "This text goes on from your choice. Check by hiding shows what its words depend on.",
    isOther ? "Asked again, the model answered in other words." : "",
    how ?? (answer === first ? "The model did not say what the words looked at." : ""),
    [model, `${seconds.toFixed(1)} s`, cutText(cut)].filter(Boolean).join(" · ") + ".",
  ]
    .filter(Boolean)
    .join(" ");
}

/** The name of a file of the words, as in "sightline-2026-11-30-140251-words.csv". */
export const wordsFileName = ({ clock }, ending) =>
  `sightline-${dateText(clock)}-${clockTime(clock).replaceAll(":", "")}-words.${ending}`;

/** The words of `answer` as JSON, with their maps. */
export function wordsJson({ text, method, grid, region, model, words }) {
  const rows = words.map(({ text: word, start, end, probability, map }) => ({
    ...{ text: word, start, end, probability, map },
  }));
  return `${JSON.stringify({ text, model, method, grid, region, words: rows }, null, 2)}\n`;
}

/** The same as CSV: a row for each word, its map as numbers with blanks between. */
export function wordsCsv({ words }) {
  const rows = words.map(({ text, start, end, probability, map }) =>
    [cell(text), start, end, probability, (map ?? []).join(" ")].join(","),
  );
  return `${["word,start,end,probability,map", ...rows].join("\r\n")}\r\n`;
}
