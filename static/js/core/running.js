// Start and stop, as one button. Pure, as state.js.

/** A second press sooner after a start is a slip of the finger. */
const SECOND_PRESS_MS = 400;

/** Whether captions run or are about to: what the button then does is to stop them. */
export function isRunning({ started, secure, camera, server }) {
  const isBroken = camera.phase === "failed" && camera.retryAt === null;
  return started && secure && !isBroken && server.phase !== "failed";
}

/** The event that a press of the button at `at` stands for, or null. */
export function pressedStart(state, at) {
  if (!state.started) return { type: "started" };
  if (!isRunning(state)) return { type: "retried" };
  return at - state.startedAt < SECOND_PRESS_MS ? null : { type: "stopped" };
}
