// The moments of the timeline that are loaded, as rows of a list that shows only those in view. Pure.
//
// A page, moments and gaps are as GET /api/timeline sends them; times are seconds since 1970. A row:
// { key, type: "day" | "gap" | "moment", clock }, with its gap, or its moment and that one's `position` from 1; `clock` is in milliseconds since 1970.

import { dayStart } from "./timeline-query.js";

/** Rows outside the view that are there, too, on each side: more than a press of a key moves. */
const SPARE_ROWS = 12;
/** Rows in the document at most, whatever their heights. */
export const MOST_ROWS = 120;
/** Heights of rows that were not shown yet, in pixels. */
const HEIGHTS = { day: 36, gap: 40, moment: 84 };

export const NO_LIST = {
  /** The newest first, or the best. */
  moments: [],
  gaps: [],
  /** `before` of the next page, null if there is none. */
  before: null,
  isLoaded: false,
  /** How many moments came while the list was there. */
  arrived: 0,
};

/** A list of one page. */
export const listOf = ({ moments, gaps, before }) => ({
  ...NO_LIST,
  moments,
  gaps,
  before,
  isLoaded: true,
});

/** `list` with the page behind it. */
export function withOlder(list, { moments, gaps, before }) {
  const known = idsOf(list.moments);
  const older = moments.filter(({ id }) => !known.has(id));
  return {
    ...list,
    moments: [...list.moments, ...older],
    gaps: joined(list.gaps, gaps),
    before,
  };
}

/** `list`, the newest first, after its first page was read again. */
export function withNewest(list, page) {
  const known = idsOf(list.moments);
  const arrived = page.moments.filter(({ id }) => !known.has(id));
  const isApart = page.before !== null && arrived.length === page.moments.length;
  if (list.moments.length === 0 || isApart) {
    return { ...listOf(page), arrived: list.arrived + (isApart ? arrived.length : 0) };
  }
  const now = new Map(page.moments.map((moment) => [moment.id, moment]));
  const last = page.before === null ? -Infinity : page.moments.at(-1).from;
  // What the page should have, and has not, was deleted.
  const stayed = list.moments.filter(({ id, from }) => from <= last || now.has(id));
  const moments = [...arrived, ...stayed.map((moment) => now.get(moment.id) ?? moment)];
  if (arrived.length > 0) moments.sort(byTime);
  const gaps = joined(list.gaps, page.gaps);
  return { ...list, moments, gaps, arrived: list.arrived + arrived.length };
}

/** `list` with other fields in a moment. */
export const withMoment = (list, id, fields) => ({
  ...list,
  moments: list.moments.map((moment) => (moment.id === id ? { ...moment, ...fields } : moment)),
});

/** `list` without the moments that `isGone`. */
export const without = (list, isGone) => ({
  ...list,
  moments: list.moments.filter((moment) => !isGone(moment)),
});

/** `list` with a moment that was deleted, at its `index` if the best come first. */
export function withBack(list, moment, index) {
  const moments = list.moments.filter(({ id }) => id !== moment.id);
  moments.splice(index, 0, moment);
  return { ...list, moments };
}

const byTime = (one, other) => other.from - one.from || other.id - one.id;
const idsOf = (moments) => new Set(moments.map(({ id }) => id));
const gapKey = ({ from, camera }) => `${from}_${camera}`;

function joined(gaps, others) {
  const all = new Map([...gaps, ...others].map((gap) => [gapKey(gap), gap]));
  return [...all.values()];
}

let shown = { list: null, ranked: null, rows: [] };

/** The rows of a list; if it is not `ranked` with the days and gaps between its moments. */
export function rowsOf(list, ranked) {
  if (shown.list !== list || shown.ranked !== ranked) {
    shown = { list, ranked, rows: ranked ? list.moments.map(momentRow) : timedRows(list) };
  }
  return shown.rows;
}

const momentRow = (moment, index) => ({
  key: `m${moment.id}`,
  type: "moment",
  clock: moment.from * 1000,
  moment,
  position: index + 1,
});

function timedRows({ moments, gaps, before }) {
  const first = before === null ? -Infinity : (moments.at(-1)?.from ?? -Infinity);
  const timed = [
    ...moments.map(momentRow),
    ...gaps.filter(({ from }) => from >= first).map((gap) => gapRow(gap, moments)),
  ].sort((one, other) => other.clock - one.clock);
  let day = null;
  return timed.flatMap((row) => {
    const start = day !== null && row.clock >= day ? day : dayStart(row.clock);
    if (start === day) return [row];
    day = start;
    return [{ key: `d${start}`, type: "day", clock: start }, row];
  });
}

/** A gap without an end that something follows is over: its camera did not come back. */
function gapRow(gap, moments) {
  const isOver = gap.to === null && moments.length > 0 && moments[0].to > gap.from;
  return { key: `g${gapKey(gap)}`, type: "gap", clock: gap.from * 1000, gap, isOver };
}

/**
 * Where the rows lie: the top of each in pixels, and at the end the height of all. `heights` has those that were
 * measured, by key.
 */
export function topsOf(rows, heights) {
  const tops = new Float64Array(rows.length + 1);
  rows.forEach(({ key, type }, index) => {
    tops[index + 1] = tops[index] + (heights.get(key) ?? HEIGHTS[type]);
  });
  return tops;
}

/** The row at `px`, by the tops of rows; the last one below them. */
export function rowAt(tops, px) {
  let [low, high] = [0, Math.max(0, tops.length - 2)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (tops[middle] <= px) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The rows to have in the document, { first, end }, for a view from `top` to `bottom` in pixels. */
export function windowOf(tops, top, bottom) {
  const count = tops.length - 1;
  const first = Math.max(0, rowAt(tops, top) - SPARE_ROWS);
  const end = Math.min(count, rowAt(tops, bottom) + 1 + SPARE_ROWS, first + MOST_ROWS);
  return { first, end };
}
