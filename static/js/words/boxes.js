// The texts about things in the picture: names and places of boxes, what is told of a thing that a
// person looks for, who made a caption, and what the object finder says to it. Pure.

import { isMirrored } from "../core/source.js";
import { doubtTexts } from "./sure.js";
import { detectorOf, lookProblem } from "../core/boxes.js";

const ROWS = { "-1": "top", 0: "", 1: "bottom" };
const COLUMNS = { "-1": "left", 0: "", 1: "right" };

/** What people say for a name of the detector, where that is another word. */
const SAID = {
  "cell phone": "phone",
  "dining table": "table",
  donut: "doughnut",
  "hair drier": "hair dryer",
  mouse: "computer mouse",
  "potted plant": "plant",
  remote: "remote control",
  "sports ball": "ball",
  tv: "screen",
};
const saidNameOf = (name) => SAID[name] ?? name;

/** Names that have no article. */
const WITHOUT_ARTICLE = ["broccoli", "scissors", "skis"];

/** The largest share of the picture that each text stands for. */
const SHARES = [
  [0.012, "a tiny part of the picture"],
  [0.05, "a small part of the picture"],
  [0.09, "less than a tenth of the picture"],
  [0.112, "about a tenth of the picture"],
  [0.145, "about an eighth of the picture"],
  [0.185, "about a sixth of the picture"],
  [0.225, "about a fifth of the picture"],
  [0.29, "about a quarter of the picture"],
  [0.415, "about a third of the picture"],
  [0.58, "about half of the picture"],
  [0.7, "about two thirds of the picture"],
  [0.85, "about three quarters of the picture"],
  [Infinity, "nearly the whole picture"],
];

/** What stands before the thing in "Please find my cup". */
const ASKING =
  /^\s*(please\s+)?((find|show|seek|locate)( me)?\s+|(look|search) for\s+|where( is| are|['’]s)\s+)?((my|our|the|an?|some)\s+)?/i;

/** How many names are given as examples of what the finder knows. */
const EXAMPLES = 3;

/** Where a place is: "top right", "middle". `place` is as core/geometry.js returns it. */
export function placeText({ column, row }, mirror = false) {
  const words = [ROWS[row], COLUMNS[mirror ? -column : column]];
  return words.filter(Boolean).join(" ") || "middle";
}

/** A thing with its article: "a cup", "an apple", "scissors". */
export function withArticle(name) {
  const said = saidNameOf(name);
  if (WITHOUT_ARTICLE.includes(said)) return said;
  return `${/^[aeiou]/i.test(said) ? "an" : "a"} ${said}`;
}

/** What a box says: { name, label }, the text beside it and its whole name for screen readers. */
export function boxTexts({ name, place }, mirror) {
  return {
    name: saidNameOf(name),
    label: `${withArticle(name)}, ${placeText(place, mirror)}`,
  };
}

/** A thing in the picture: "the cup, top right". */
export const thingText = ({ name, place }) => `the ${saidNameOf(name)}, ${placeText(place)}`;

/** How a caption was cut, as the end of what is told of it. */
const SPOKEN_CUTS = { loop: "(cut where it repeated itself)", limit: "" };

/**
 * The caption as it is told: one about a thing begins with that, an answer that is unsure and one that was cut end
 * with that.
 */
export function spokenCaption(caption) {
  if (!caption.text.trim()) return caption;
  const about = caption.thing ? `About ${thingText(caption.thing)}:` : "";
  const unsure = caption.isAnswer && caption.sure?.unsure ? "(unsure)" : "";
  const words = [about, caption.text.trim(), unsure, SPOKEN_CUTS[caption.cut?.by] ?? ""];
  return { ...caption, text: words.filter(Boolean).join(" ") };
}

/** The line under the caption. */
export function marksText(caption, isComing = true) {
  if (!caption.text) return "";
  const about = caption.thing ? `About ${thingText(caption.thing)}.` : "";
  const cut =
    caption.cut?.by === "loop"
      ? "The model repeated itself, so the answer was cut."
      : asSentence(cutText(caption.cut));
  const doubts = doubtTexts(caption).map(asSentence);
  const words = [about, makerText(caption, isComing), cut, ...doubts, checksText(caption)];
  return words.filter(Boolean).join(" ");
}

export const shareText = (share) => SHARES.find(([most]) => share < most)[1];

/** What is told about the thing that the person looks for, "" for nothing. */
export function findText(state) {
  const { told, words } = state.find;
  const problem = lookProblem(state);
  if (!told) return "";
  const thing = `“${words.replace(ASKING, "").replace(/[?!.\s]+$/, "") || words}”`;
  if (told.kind === "unknown") return unknownText(thing, detectorOf(state)?.knows ?? []);
  if (problem) return `The object finder does not answer. ${problem}`;
  if (told.kind === "looking") return `Looking for ${thing}.`;
  if (told.kind === "gone") return `Not in sight: ${thing}.`;
  const place = placeText(told.place, isMirrored(state));
  const name = saidNameOf(told.name);
  const others = told.many ? " More are in sight." : "";
  return `${capitalised(name)}: ${place}, ${shareText(told.share)}.${others}`;
}

function unknownText(thing, knows) {
  const count = knows.length;
  const examples = ["cup", "bottle", "chair", "person"].filter((name) => knows.includes(name));
  const named = [...examples, ...knows.filter((name) => !examples.includes(name))];
  const some = named.slice(0, EXAMPLES).map(saidNameOf).join(", ");
  return `The object finder does not know ${thing}. It knows ${count} things, such as ${some}.`;
}

/** Why there are no boxes to switch on, or "" if there are. */
export function boxesHint(state) {
  const { status } = state.server;
  if (!status) return "The server has not answered yet.";
  if (!detectorOf(state)) {
    return status.finder?.problem || "This server runs no object detector.";
  }
  const problem = lookProblem(state);
  return problem ? `The object finder does not answer. ${problem}` : "";
}

/** Why nobody but the model can read text, or "" if the text reader can. */
export function readingHint({ server: { status } }) {
  if (!status || status.finder?.reader) return "";
  return status.finder?.problem || "This server runs no text reader, so the model answers.";
}

/**
 * What stands before an entry of the history: who made it, what it is about, that the model was unsure, that it was
 * cut; or "".
 */
export function entryNote({ by, thing, cut, unsure }) {
  const maker = { finder: "Object finder", reader: "Text reader" }[by] ?? "";
  const about = thing ? `About ${thingText(thing)}` : "";
  return [maker, about, unsure ? "Unsure" : "", capitalised(cutText(cut))]
    .filter(Boolean)
    .join(". ");
}

/** How an answer was cut, or "". */
export function cutText(cut) {
  if (cut?.by === "person") return "stopped";
  if (cut?.by === "loop") return "cut where it repeated itself";
  if (cut?.by !== "limit") return "";
  return cut.tokens === null ? "cut at the limit" : `cut at ${cut.tokens} tokens`;
}

/**
 * Who made the caption, if it was not the model: "" or a sentence. `isComing`: a model for real scenes is
 * being fetched or loaded.
 */
export function makerText({ by }, isComing) {
  if (by === "finder") {
    return isComing
      ? "By the object finder; SmolVLM takes over when it is here."
      : "By the object finder: nano knows drawn shapes only.";
  }
  if (by === "reader") return "Read by the text reader.";
  return "";
}

/** What the object finder says to a caption: "" or a sentence. */
export function checksText({ checks }) {
  const wordsWith = (wanted) =>
    checks.filter(({ verdict }) => verdict === wanted).map(({ word }) => `“${word}”`);
  const [found, missing] = [wordsWith("found"), wordsWith("not_found")];
  const parts = [];
  if (missing.length > 0) parts.push(`does not see ${listed(missing, "or")}`);
  if (found.length > 0) parts.push(`sees ${listed(found, "and")}`);
  return parts.length > 0 ? `The object finder ${parts.join("; it ")}.` : "";
}

function listed(words, joint) {
  return words.length < 2
    ? words.join("")
    : `${words.slice(0, -1).join(", ")} ${joint} ${words.at(-1)}`;
}

const asSentence = (text) => (text ? `${capitalised(text)}.` : "");
const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);
