// The timeline that the server keeps, as far as it is loaded, and what is being asked of the server. Pure, as state.js.
//
// What is to be asked is a job: { id, what, ... }. core/timekeeper.js sends each job that is new, cancels those
// that are gone, and reports the answer. `what` is one of
// - settings: what is kept; choose: change it by `changes`;
// - list: a page of moments by `fields`; `part` is first, older or newest;
// - days: the half hours and gaps of `day`, of a `camera` or "" for all;
// - delete: the moment `moment`, at `index` of the list, or those of a time, `from` to `to`, null where it is open;
// - undo: take the `deletion` back; keep: spare a `moment` (its id) from deletion, or not, by `kept`;
// - picture: the small picture of a `moment`, to show it with the `panel`;
// - ask: a `question` about what was kept.

import { mayChangeModels } from "./server.js";
import {
  NO_LIST,
  listOf,
  withBack,
  withMoment,
  withNewest,
  withOlder,
  without,
} from "./timeline-list.js";
import { NO_FILTER, dayStart, fieldsOf, isRanked, timeOf } from "./timeline-query.js";
import { dayOf } from "./timeline-strip.js";

const POLL_MS = 3_000;
const SETTINGS_EVERY_MS = 10_000;
/** Of the sources that were seen, so many can be chosen. */
const MOST_SOURCES = 50;

export const initialTimeline = {
  /** What is kept and where, as GET /api/timeline/settings has it, or null until it is known. */
  settings: null,
  settingsAt: -Infinity,
  /** What the person wants to see: "kept" or "tab"; null: by what is kept. */
  choice: null,
  /** The person was asked whether to keep anything, and said "Not now". */
  isLater: false,
  filter: NO_FILTER,
  list: NO_LIST,
  /** The day that the strip shows: { day, halfHours, gaps }; `day` is { from, to } in seconds. */
  strip: { day: null, halfHours: [], gaps: [] },
  sources: [],
  /** The id of the moment that was chosen last, or null. */
  chosen: null,
  /** What was deleted and can be brought back: [{ deletion, count, until, moment, index }]. */
  deletions: [],
  /** The question over the timeline and its answer; see timeline-answer.js. */
  answer: null,
  jobs: [],
  lastJobId: 0,
  pollAt: -Infinity,
  /** Why and when a job failed last: { what, kind, message, at }, or null. */
  failure: null,
};

/** Whether anything is kept, or was. */
export const hasKept = ({ timeline: { settings } }) =>
  settings !== null && settings.available && (settings.keep !== "off" || settings.moments > 0);

/** Whether the tab shows what is kept, not only what was said in this tab. */
export function showsKept(state) {
  const { settings, choice } = state.timeline;
  if (!mayChangeModels(state) || !hasKept(state)) return false;
  return (choice ?? (settings.keep === "off" ? "tab" : "kept")) === "kept";
}

/** Whether to ask the person whether to keep anything. */
export const offersToKeep = (state) =>
  mayChangeModels(state) &&
  state.timeline.settings?.available === true &&
  state.timeline.settings.keep === "off" &&
  !state.timeline.isLater;

/** When to look for what is new, or null for not now; once before the tab is open. */
export function timelinePollAt(state) {
  const { panel, visible, server, timeline } = state;
  const isWanted = panel === "history" || timeline.settingsAt === -Infinity;
  const isThere = visible && !["gone", "connecting"].includes(server.phase);
  return isWanted && isThere && mayChangeModels(state) ? timeline.pollAt : null;
}

/** The last deletion that can be undone at `at`, or null. */
export const undoable = ({ timeline }, at) =>
  timeline.deletions.findLast(({ until }) => at < until) ?? null;

const changed = (state, fields) => ({ ...state, timeline: { ...state.timeline, ...fields } });

/** `state` with one more job; others that do the same thing are given up. */
export function withJob(state, job, replaces = ({ what }) => what === job.what) {
  const { jobs, lastJobId } = state.timeline;
  const id = lastJobId + 1;
  const others = jobs.filter((one) => !replaces(one));
  return changed(state, { jobs: [...others, { ...job, id }], lastJobId: id });
}

const none = () => false;

/** `state` that reads a part of the list. */
function reading(state, part, clock) {
  const { filter, list } = state.timeline;
  const fields = fieldsOf(filter, clock);
  if (part === "older") fields.before = list.before;
  return withJob(state, { what: "list", part, fields });
}

/** `state` that reads the list anew, for another filter. */
const listedAnew = (state, filter, clock) =>
  reading(changed(state, { filter, list: NO_LIST, failure: null }), "first", clock);

/** `state` that counts the day of `clock`. */
function counting(state, clock) {
  const day = dayOf(clock);
  const isSame = state.timeline.strip.day?.from === day.from;
  const strip = isSame ? state.timeline.strip : { day, halfHours: [], gaps: [] };
  const job = { what: "days", day, camera: state.timeline.filter.source };
  return withJob(changed(state, { strip }), job);
}

export const timelineHandlers = {
  "timeline-poll-due"(state, { at, clock }) {
    const { settingsAt, list, filter, jobs, strip } = state.timeline;
    let next = changed(state, { pollAt: at + POLL_MS });
    if (at - settingsAt >= SETTINGS_EVERY_MS) {
      next = withJob(changed(next, { settingsAt: at }), { what: "settings" });
    }
    if (state.panel !== "history" || !showsKept(state)) return next;
    if (jobs.some(({ what }) => what === "list")) return next;
    const isNewest = !isRanked(filter) && filter.until === null;
    if (!list.isLoaded) next = reading(next, "first", clock);
    else if (isNewest) next = reading(next, "newest", clock);
    const isDue = strip.day === null || at - settingsAt >= SETTINGS_EVERY_MS;
    return isDue ? counting(next, strip.day ? strip.day.from * 1000 : clock) : next;
  },

  "timeline-view-chosen"(state, { view, at }) {
    return changed(state, { choice: view, pollAt: at });
  },

  "timeline-later"(state) {
    return changed(state, { isLater: true });
  },

  /** What is to be kept: any of { keep, days, mb }. */
  "timeline-keep-chosen"(state, { changes }) {
    return withJob(state, { what: "choose", changes });
  },

  /** Other words or filters: the fields of timeline-query.js that change. */
  "timeline-filtered"(state, { changes, clock }) {
    const before = state.timeline.filter;
    const filter = { ...before, until: null, like: null, ...changes };
    const [was, is] = [before, filter].map((one) => JSON.stringify(fieldsOf(one, clock)));
    const { from, to } = timeOf(filter, clock);
    const isOtherTime = from !== timeOf(before, clock).from || to !== timeOf(before, clock).to;
    if (was === is && !isOtherTime) return changed(state, { filter });
    const next = listedAnew(state, filter, clock);
    // The last day of a range that is over, else today.
    return isOtherTime || filter.source !== before.source
      ? counting(next, to === null ? clock : (to - 1) * 1000)
      : next;
  },

  /** To the moments that begin before `until`, in seconds, of the strip; null: to the newest. */
  "timeline-jumped"(state, { until, clock }) {
    const { filter } = state.timeline;
    const range = until === null ? {} : { range: "all" };
    return listedAnew(state, { ...filter, ...range, words: "", like: null, until }, clock);
  },

  /** Another day than that of the strip, `step` days later, and its moments; at last the newest of today. */
  "timeline-day-stepped"(state, { step, clock }) {
    const { filter, strip } = state.timeline;
    const day = Math.min(dayStart(strip.day.from * 1000, step), dayStart(clock));
    const until = day === dayStart(clock) ? null : dayStart(day, 1) / 1000;
    const narrowed = { ...filter, range: "all", words: "", like: null, until };
    return counting(listedAnew(state, narrowed, clock), day);
  },

  "timeline-older-wanted"(state, { at, clock }) {
    const { list, jobs, failure } = state.timeline;
    const hasJustFailed = failure?.what === "list" && at - failure.at < POLL_MS;
    const isBusy = jobs.some(({ what, part }) => what === "list" && part !== "newest");
    return list.before === null || isBusy || hasJustFailed ? state : reading(state, "older", clock);
  },

  /** A moment is to be listed first, and is chosen. */
  "timeline-found"(state, { moment, clock }) {
    // The next millisecond: "before" is not "at".
    const filter = { ...NO_FILTER, until: moment.from + 0.001 };
    const next = counting(listedAnew(state, filter, clock), moment.from * 1000);
    return changed(next, { chosen: moment.id, choice: "kept" });
  },

  "timeline-kept"(state, { moment, kept }) {
    return withJob(state, { what: "keep", moment, kept }, none);
  },

  /** `moment` is deleted, or what was from `from` to `to`, in seconds, null where it is open. */
  "timeline-deleted"(state, { moment = null, from = null, to = null }) {
    const index = state.timeline.list.moments.findIndex(({ id }) => id === moment?.id);
    return withJob(state, { what: "delete", moment, index, from, to }, none);
  },

  "timeline-undone"(state, { at }) {
    const last = undoable(state, at);
    return last ? withJob(state, { what: "undo", ...last }, none) : state;
  },

  /** A job is done; `answer` is as in io/timeline.js. */
  "timeline-job-done"(state, event) {
    const job = state.timeline.jobs.find(({ id }) => id === event.id);
    if (!job) return state;
    const jobs = state.timeline.jobs.filter(({ id }) => id !== event.id);
    const isBad = state.timeline.failure?.what === job.what;
    const next = changed(state, { jobs, failure: isBad ? null : state.timeline.failure });
    return DONE[job.what]?.(next, job, event) ?? next;
  },

  "timeline-job-failed"(state, { id, kind, message, at }) {
    const job = state.timeline.jobs.find((one) => one.id === id);
    if (!job) return state;
    const jobs = state.timeline.jobs.filter((one) => one.id !== id);
    const next = changed(state, { jobs, failure: { what: job.what, kind, message, at } });
    // The settings may say why; and the list may be wrong.
    return changed(next, { settingsAt: -Infinity });
  },
};

/** What the answer to each job means, (state, job, { answer, at, clock }) => state. */
const DONE = {
  settings: withSettings,

  choose(state, { changes }, event) {
    const next = withSettings(state, null, event);
    return changes.keep === undefined ? next : changed(next, { choice: null, isLater: true });
  },

  list(state, { part }, { answer }) {
    const { list, filter } = state.timeline;
    const join = { first: (_, page) => listOf(page), older: withOlder, newest: withNewest }[part];
    const found = answer.moments.map(({ source }) => source).filter(Boolean);
    const sources = [...new Set([...state.timeline.sources, ...found])].slice(0, MOST_SOURCES);
    const next = changed(state, { list: join(list, answer), sources });
    const [newest] = answer.moments;
    const isPlain = !isRanked(filter) && filter.until === null;
    if (part === "first" && newest && isPlain) return counting(next, newest.from * 1000);
    const { day } = state.timeline.strip;
    return next.timeline.list.arrived > list.arrived && day
      ? counting(next, day.from * 1000)
      : next;
  },

  days(state, { day }, { answer }) {
    return changed(state, { strip: { day, ...answer } });
  },

  delete(state, { moment, index, from, to }, { answer, at }) {
    const { deletion, moments: count, undo_s: undoS } = answer;
    if (count === 0) return state;
    const isGone = moment
      ? ({ id }) => id === moment.id
      : (one) => (from === null || one.to >= from) && (to === null || one.from < to);
    const until = at + undoS * 1000;
    const before = state.timeline.deletions.filter((one) => at < one.until);
    const deletions = [...before, { deletion, count, until, moment, index }];
    const list = without(state.timeline.list, isGone);
    return changed(state, { deletions, list, settingsAt: -Infinity });
  },

  undo(state, { deletion, moment, index }, { at, clock }) {
    const { list, filter } = state.timeline;
    const deletions = state.timeline.deletions.filter((one) => one.deletion !== deletion);
    const next = changed(state, { deletions, settingsAt: -Infinity, pollAt: at });
    if (!moment) return listedAnew(next, filter, clock);
    return changed(next, { list: withBack(list, moment, index) });
  },

  keep(state, { moment, kept }) {
    return changed(state, { list: withMoment(state.timeline.list, moment, { kept }) });
  },
};

function withSettings(state, _, { answer, at }) {
  const isOther = state.timeline.settings?.keep !== answer.keep;
  const next = changed(state, { settings: answer, settingsAt: at });
  return isOther ? changed(next, { pollAt: at }) : next;
}
