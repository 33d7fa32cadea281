// What is looked for in the timeline: words and filters, and what of them the server is sent. Pure.
//
// Times are seconds since 1970, as the server has them; days are those of this browser's clock, as text
// ("2026-11-30").

/** The fewest letters that are looked for. */
export const LEAST_LETTERS = 2;
export const QUERY_CHARS = 500;
const QUESTION_WORDS = new Set(
  (
    "when what where who whose which why how did does do is are was were has have had can could " +
    "will would should tell describe"
  ).split(" "),
);

export const NO_FILTER = {
  /** Words, "phrases" and -words. */
  words: "",
  /** all | today | yesterday | week | days (from `fromDay` to `toDay`, "" if open). */
  range: "all",
  fromDay: "",
  toDay: "",
  /** The name of a source, "" for all of them. */
  source: "",
  /** answer | alert, "" for all moments. */
  kind: "",
  kept: false,
  /** The moment that others are to be like, or null. */
  like: null,
  /** Only moments that begin before this time, after a jump; null for none. */
  until: null,
};

/** Whether the best moments come first, not the newest. */
export const isRanked = (filter) => wordsOf(filter) !== "" || filter.like !== null;

/** Whether anything but a jump narrows what is listed. */
export const isFiltered = ({ words, range, source, kind, kept, like }) =>
  wordsOf({ words }) !== "" || range !== "all" || source !== "" || kind !== "" || kept || !!like;

/** The words that are looked for; "" while they are too short. */
export function wordsOf({ words }) {
  const wanted = words.trim().slice(0, QUERY_CHARS);
  return wanted.length < LEAST_LETTERS ? "" : wanted;
}

/** Whether a text is a question about the timeline, not words to look for. */
export function isQuestion(text) {
  const words = text.trim().toLowerCase().split(/\s+/);
  return text.trim().endsWith("?") || (words.length > 2 && QUESTION_WORDS.has(words[0]));
}

/** The beginning of the day that is `days` after that of `clock`, in milliseconds since 1970. */
export function dayStart(clock, days = 0) {
  const date = new Date(clock);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + days).getTime();
}

/** The beginning of a day in milliseconds since 1970, `days` later; null if the text is none. */
function startOf(day, days = 0) {
  const [year, month, date] = day.split("-").map(Number);
  const start = new Date(year, month - 1, date + days).getTime();
  return day && Number.isFinite(start) ? start : null;
}

/** The time of a filter's range, [from, to] in milliseconds since 1970, null where it is open. */
function rangeOf({ range, fromDay, toDay }, clock) {
  if (range === "today") return [dayStart(clock), null];
  if (range === "yesterday") return [dayStart(clock, -1), dayStart(clock)];
  if (range === "week") return [dayStart(clock, -6), null];
  return range === "days" ? [startOf(fromDay), startOf(toDay, 1)] : [null, null];
}

/** The time of the filter alone, without a jump: { from, to } in seconds, null where it is open. */
export function timeOf(filter, clock) {
  const [from, to] = rangeOf(filter, clock).map((ms) => (ms === null ? null : ms / 1000));
  return { from, to };
}

/** The fields of GET /api/timeline, only those that say something. */
export function fieldsOf(filter, clock) {
  const { from, to } = timeOf(filter, clock);
  const { source, kind, kept, like, until } = filter;
  const ends = [to, until].filter((time) => time !== null);
  const fields = {
    q: like ? "" : wordsOf(filter),
    from,
    to: ends.length > 0 ? Math.min(...ends) : null,
    camera: source,
    kind,
    kept: kept ? "1" : "",
    like: like?.id ?? null,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value || value === 0));
}
