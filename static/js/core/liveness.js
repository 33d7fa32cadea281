// Whether a camera's frames still come, told by counting them. A track that is "live" may have stopped
// long ago. Pure; times are milliseconds.

/** Between two checks. */
export const CHECK_EVERY_MS = 500;
/** Without a new frame for this long a camera has stopped. */
export const STALLED_AFTER_MS = 3_000;
// A check that comes this late was held up: the page was hidden or the computer asleep.
const LATE_MS = 1_500;

/** `count` is the number of frames so far. */
export const initialLiveness = (count, at) => ({
  count,
  newAt: at,
  checkedAt: at,
  isStalled: false,
});

/** The next state, by a check at `at`; a hidden page gets no frames, which means nothing. */
export function checked(liveness, { count, isHidden, at }) {
  const isNew = count !== liveness.count;
  const isLate = at - liveness.checkedAt >= LATE_MS;
  const newAt = isNew || isHidden || (isLate && !liveness.isStalled) ? at : liveness.newAt;
  const wasStalled = liveness.isStalled && !isNew;
  return { count, newAt, checkedAt: at, isStalled: wasStalled || at - newAt >= STALLED_AFTER_MS };
}
