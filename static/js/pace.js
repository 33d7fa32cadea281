// When the next frame is due and how long to wait after a failure. Pure: times are milliseconds.

/** A pace at which the next frame is taken at `at` and sent even if it shows nothing new. */
export const freshPace = (at) => ({ lookAt: at, sentAt: -Infinity, force: true, failures: 0 });

/** Waiting time before try number `attempt` (0 is the first): doubling, bounded, half of it by chance. */
export function backoffMs(attempt, random) {
  const ceiling = Math.min(8_000, 500 * 2 ** Math.min(attempt, 10));
  return (ceiling / 2) * (1 + random);
}
