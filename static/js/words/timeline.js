// The texts of the timeline. Pure. Times of moments are seconds since 1970.

import { askedOf } from "../core/prompt.js";
import { titleOf } from "../core/server.js";
import { hasKept } from "../core/timeline.js";
import { dayStart, isFiltered, isRanked, wordsOf } from "../core/timeline-query.js";
import { clockTime, dateText, spanText } from "./session.js";

const GAPS = {
  stopped: "Stopped",
  hidden: "Page hidden",
  server: "Server away",
  camera: "No picture",
  model: "No model",
};
/** Why nothing is kept, by the code of a fault. */
const FAULTS = {
  disk_full: "the disk is full",
  read_only: "its file cannot be written to",
  locked: "another program holds its file",
  damaged: "its file is damaged",
  newer: "its file is of a newer version of Sightline",
  in_use: "another Sightline uses its file",
  too_slow: "the disk is too slow",
};
const KEPT = { words: "Words", pictures: "Words and small pictures" };
export const DAYS = { 1: "1 day", 7: "7 days", 30: "30 days", 0: "always" };
/** The formats of GET /api/timeline/export. */
export const FORMATS = {
  txt: "Text",
  csv: "CSV",
  jsonl: "JSON lines",
  srt: "Subtitles (SRT)",
  vtt: "Subtitles (VTT)",
  html: "Page with pictures",
  report: "Report",
};
export const RANGES = {
  all: "Any day",
  today: "Today",
  yesterday: "Yesterday",
  week: "Last 7 days",
  days: "Days …",
};
export const ONLY_WORDS = "Only words were kept: there is no picture to show or to ask about.";

const SHORT_DAY = { weekday: "short", day: "numeric", month: "short" };
const WEEKDAY = { weekday: "long", day: "numeric", month: "long", year: "numeric" };

/** HH:MM of a time in milliseconds since 1970. */
export const shortTime = (clock) => clockTime(clock).slice(0, 5);

/** A day: "Today", "Yesterday", "Monday, 30 November 2026". */
export function dayText(day, clock) {
  if (day === dayStart(clock)) return "Today";
  if (day === dayStart(clock, -1)) return "Yesterday";
  return new Date(day).toLocaleDateString("en-GB", WEEKDAY);
}

const inMs = ({ from, to }) => ({ from: from * 1000, to: to * 1000 });

/** The same, short: "Mon 30 Nov". */
export const shortDay = (day, clock) =>
  dayStart(clock, -1) <= day
    ? dayText(day, clock)
    : new Date(day).toLocaleDateString("en-GB", SHORT_DAY);

/** When a moment was; with its day if the list has none. */
export function momentTime(moment, ranked) {
  const span = spanText(inMs(moment));
  return ranked ? `${dateText(moment.from * 1000)} ${span}` : span;
}

/** What stands above the words of a moment: { question, note }, "" if there is nothing to say. */
export function keptTexts(state, moment, filter) {
  const { kind, question, kept, source, why } = moment;
  const kinds = { answer: "Answer", alert: "Alert" };
  const from = filter.source === "" ? source : "";
  // None of its words match.
  const means = why?.words.length === 0 ? "by its picture" : "";
  const asked = kind === "answer" ? question : askedOf(state, question);
  return {
    question: asked,
    note: [kept ? "★ Kept" : "", kinds[kind], from, means].filter(Boolean).join(" · "),
  };
}

/** A gap: "Page hidden 14:02:51 – 14:03:02". `isOver`: it has no end, but other cameras went on. */
export function keptGapText({ from, to, why, source }, isOver) {
  const name = source ? `${GAPS[why]} (${source})` : GAPS[why];
  if (to !== null) return `${name} ${spanText(inMs({ from, to }))}`;
  return isOver
    ? `${name} at ${clockTime(from * 1000)}`
    : `${name} since ${clockTime(from * 1000)}`;
}

const moments = (count) => (count === 1 ? "1 moment" : `${count.toLocaleString("en")} moments`);

/** How many moments there are: "23 moments", or "More than 50 moments". */
export function countText({ timeline }) {
  const { list, filter, settings } = timeline;
  if (!list.isLoaded) return "";
  const { length } = list.moments;
  const isAll = !isFiltered(filter) && filter.until === null;
  if (isAll && settings && list.before !== null) return moments(settings.moments);
  return list.before === null ? moments(length) : `More than ${moments(length)}`;
}

/** What an empty list says, "" for one that is not empty, or not known yet. */
export function emptyText({ timeline }) {
  const { list, filter, failure } = timeline;
  if (failure?.what === "list") return failure.message;
  if (!list.isLoaded || list.moments.length > 0 || list.before !== null) return "";
  if (filter.like) return "Nothing like it was found.";
  const words = wordsOf(filter);
  // Its answer stands above the list.
  if (words && words === timeline.answer?.question) return "";
  if (words) return `Nothing found for “${words}”. Try fewer words, or another day.`;
  return isFiltered(filter) || filter.until !== null
    ? "Nothing was kept in this time."
    : "Nothing was kept yet. What is captioned from now on appears here.";
}

/** What a jump or a likeness narrows the list to, "" for nothing. */
export function narrowedText({ filter }) {
  if (filter.like)
    return `Like ${dateText(filter.like.from * 1000)} ${clockTime(filter.like.from * 1000)}`;
  if (filter.until === null) return "";
  return `Before ${dateText(filter.until * 1000)} ${shortTime(filter.until * 1000)}`;
}

/** A half hour of the strip: "14:00, 12 changes". */
export function slotText({ from, changes, isGap, isAhead }) {
  const time = shortTime(from * 1000);
  if (isAhead) return `${time}, not there yet`;
  if (changes === 0) return `${time}, ${isGap ? "not looked at" : "no changes"}`;
  return `${time}, ${changes === 1 ? "1 change" : `${changes} changes`}`;
}

const sizeText = (bytes) =>
  bytes < 1e6 ? "less than 1 MB" : `${Math.round(bytes / 1e6).toLocaleString("en")} MB`;

/** Which computer keeps the file. */
const placeText = ({ server }) =>
  server.status?.same_machine === false ? "on the server’s computer" : "on this computer";

/** What is kept and where: "Words and small pictures, 7 days, 84 MB, on this computer". */
export function keptText(state) {
  const { settings } = state.timeline;
  if (settings === null || !settings.available) return "";
  const { keep, days, bytes, moments: count } = settings;
  const place = placeText(state);
  if (keep === "off") {
    return count === 0
      ? "Nothing is kept."
      : `Nothing more is kept. ${moments(count)} of before, ${sizeText(bytes)}, ${place}.`;
  }
  return `${KEPT[keep]}, ${DAYS[days]}, ${sizeText(bytes)}, ${place}`;
}

/** Where the file is, or "". */
export const fileText = ({ timeline: { settings } }) => (settings?.file ? settings.file : "");

/** Why nothing is kept although it was chosen, or why nobody can see it here; "" if all is well. */
export function faultText(state) {
  const { settings } = state.timeline;
  const { status } = state.server;
  if (status && !status.can_change_models) {
    return ["off", undefined].includes(status.timeline)
      ? ""
      : "What is captioned is kept on the server’s computer. Only there it can be seen, changed and deleted.";
  }
  if (settings?.available === false) {
    return "This server keeps no timeline: it was started with --no-timeline.";
  }
  if (!settings?.fault) return "";
  const { code, why, since } = settings.fault;
  const reason = FAULTS[code] ? `: ${FAULTS[code]}.` : `. ${why}`;
  return `Nothing more is kept since ${shortTime(since * 1000)}${reason} Captions go on.`;
}

/** The question whether to keep anything. */
export const offerText = (state) =>
  "Captions appear here. They are gone when the page is closed. Keep them " +
  `${placeText(state)}, from all cameras of this server?` +
  (hasKept(state) ? " Earlier ones are still there." : "");

/** What was deleted: "12 moments deleted". */
export const deletedText = ({ count }) => `${moments(count)} deleted`;

/** Why something that the person asked for failed, or "". */
export function failureText({ timeline: { failure } }) {
  const isTold = failure && !["list", "days", "settings", "ask"].includes(failure.what);
  return isTold ? failure.message : "";
}

/** The line under an answer over the timeline. */
export function answerNote(state, { step, plan, seconds, error }) {
  if (step === "failed") return error.message;
  if (step === "asked") return plan === null ? "Looking …" : "Answering …";
  const took = `${seconds < 0.1 ? seconds.toFixed(3) : seconds.toFixed(1)} s`;
  if (plan === "nothing") return `Nothing was found, and the model was not asked · ${took}`;
  const by =
    plan === "recall" ? titleOf(state, state.server.status?.model) : "counted in what is kept";
  return `${by} · ${took}`;
}

/** Whether the list is in the order of time, for its name. */
export const listName = ({ filter }) =>
  isRanked(filter) ? "Moments found, the best first" : "Moments, the newest first";

/** A moment as text, to copy. */
export function momentText(moment) {
  const time = `${dateText(moment.from * 1000)} ${spanText(inMs(moment))}`;
  const asked = moment.kind === "answer" ? `${moment.question}: ` : "";
  return `${time}  ${asked}${moment.text.trim()}`;
}

/** The name of a moment's picture as a file. */
export const pictureName = ({ from }) =>
  `sightline-${dateText(from * 1000)}-${clockTime(from * 1000).replaceAll(":", "")}.jpg`;
