// When the next frame is due, whether it must be sent, and how long to wait after a failure. Pure:
// times are milliseconds.

/** A frame is sent after this long even if the scene looks the same. */
const HEARTBEAT_MS = 10_000;
/** The shortest time between two looks at a scene that has not changed. */
const LOOK_GAP_MS = 150;

/** A pace at which the next frame is taken at `at` and sent even if it shows nothing new. */
export const freshPace = (at) => ({ lookAt: at, sentAt: -Infinity, force: true, failures: 0 });

/** When the frame after `pass` is due by the interval that the settings ask for. */
export const nextLook = ({ pass, settings }) => pass.takenAt + settings.intervalS * 1000;

/** The same, but not at once: for a frame of which nothing came. */
export const nextLookAfterGap = (state, at) => Math.max(at + LOOK_GAP_MS, nextLook(state));

/** Whether the frame taken at `at` is sent even if it shows what the last captioned one showed. */
export function mustSend({ pace }, at) {
  return pace.force || at - pace.sentAt >= HEARTBEAT_MS;
}

/** Waiting time before try number `attempt` (0 is the first): doubling, bounded, half of it by chance. */
export function backoffMs(attempt, random) {
  const ceiling = Math.min(8_000, 500 * 2 ** Math.min(attempt, 10));
  return (ceiling / 2) * (1 + random);
}
