// One day of the timeline as a strip of half hours. Pure. Times are seconds since 1970.

import { dayStart } from "./timeline-query.js";

const HALF_HOUR_S = 1800;
/** From this share on a half hour without changes is one in which nobody looked. */
const GAP_SHARE = 0.5;

/** The beginning and the end of the day of `clock` (milliseconds), in seconds. */
export const dayOf = (clock) => ({ from: dayStart(clock) / 1000, to: dayStart(clock, 1) / 1000 });

/**
 * The half hours of a day, [{ from, to, changes, height, isGap, isAhead }], 48 but when the clocks change. `height` is 0
 * to 1, `isAhead`: it has not begun at `now`.
 */
export function stripOf({ day, halfHours, gaps }, now) {
  const count = Math.round((day.to - day.from) / HALF_HOUR_S);
  const changes = new Array(count).fill(0);
  for (const { from, captions, answers, alerts } of halfHours) {
    // Its middle, since there are time zones of a quarter of an hour.
    const index = Math.floor((from + HALF_HOUR_S / 2 - day.from) / HALF_HOUR_S);
    if (index in changes) changes[index] += captions + answers + alerts;
  }
  const most = Math.max(1, ...changes);
  return changes.map((number, index) => {
    const from = day.from + index * HALF_HOUR_S;
    const to = from + HALF_HOUR_S;
    const shares = gaps.map((gap) => Math.min(to, gap.to ?? now) - Math.max(from, gap.from));
    return {
      ...{ from, to, changes: number },
      height: number === 0 ? 0 : Math.max(0.12, number / most),
      isGap: number === 0 && Math.max(0, ...shares) >= GAP_SHARE * HALF_HOUR_S,
      isAhead: from > now,
    };
  });
}

/** The half hour of a time; the first or the last one if it is on another day. */
export const slotOf = (strip, time) =>
  Math.max(0, Math.min(strip.length - 1, Math.floor((time - strip[0].from) / HALF_HOUR_S)));

/** The next half hour with changes from `slot` in the direction `step`, or `slot` itself. */
export function nextBusy(strip, slot, step) {
  for (let at = slot + step; at in strip; at += step) if (strip[at].changes > 0) return at;
  return slot;
}
