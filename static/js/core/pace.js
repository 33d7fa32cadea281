// When the next frame is due, whether it must be sent, and how long to wait after a failure. Pure
// functions; times are milliseconds.

/** A frame is sent after this long even if the scene has not changed. */
const HEARTBEAT_MS = 10_000;
/** The shortest time between two captures if the first one led to no caption. */
const CAPTURE_GAP_MS = 150;

/** A pace that captures the next frame at `at` and sends it even if the scene has not changed. */
export const freshPace = (at) => ({ captureAt: at, sentAt: -Infinity, force: true, failures: 0 });

/** Drop the frame in flight and capture a new one at once. */
export const restartCapture = (state, at) => ({
  ...state,
  request: null,
  problem: null,
  pace: freshPace(at),
});

/** When the next frame is due, by the interval in the settings, or a longer one of the server's. */
export const nextCapture = ({ request, settings }, serverS = 0) =>
  request.capturedAt + Math.max(settings.intervalS, serverS) * 1000;

/** When the next frame is due after one that led to no caption. */
export const nextCaptureAfterGap = (state, at) => Math.max(at + CAPTURE_GAP_MS, nextCapture(state));

/** Whether the frame captured at `at` is sent even if the scene has not changed. */
export function mustSend({ pace }, at) {
  return pace.force || at - pace.sentAt >= HEARTBEAT_MS;
}

/** Exponential backoff before retry number `attempt` (from 0), at most 8 s, half of it random. */
export function backoffMs(attempt, random) {
  const ceiling = Math.min(8_000, 500 * 2 ** Math.min(attempt, 10));
  return (ceiling / 2) * (1 + random);
}
