// Touches of the picture as commands. Pure: events in, gestures out; times are milliseconds.

/** A second tap within this time makes a double tap. */
export const DOUBLE_TAP_MS = 300;
const HOLD_MS = 500;
/** A finger that moves farther scrolls. */
const STILL_PX = 14;

export const initialTouch = {
  /** The fingers that are down: { id, x, y }. */
  fingers: [],
  /** Of the present touch: when it began, the most fingers at once, whether one has moved. */
  since: 0,
  most: 0,
  hasMoved: false,
  /** When the last tap ended that may become a double tap, or null. */
  tappedAt: null,
};

/**
 * { touch, gesture } after an event { type: "down" | "move" | "up" | "cancel", id, x, y, at }, or
 * { type: "waited", at }, which comes DOUBLE_TAP_MS after a tap. `gesture` is "tap" | "double-tap" | "hold" |
 * "two-fingers", or null.
 */
export function touched(touch, event) {
  const { type, id, x, y, at } = event;
  if (type === "waited") {
    const isTap = touch.tappedAt !== null && at - touch.tappedAt >= DOUBLE_TAP_MS;
    return isTap
      ? { touch: { ...touch, tappedAt: null }, gesture: "tap" }
      : { touch, gesture: null };
  }
  if (type === "down") {
    const isFirst = touch.fingers.length === 0;
    const fingers = [...touch.fingers, { id, x, y }];
    const begun = isFirst ? { since: at, hasMoved: false, most: 0 } : {};
    const next = { ...touch, ...begun, fingers };
    return { touch: { ...next, most: Math.max(next.most, fingers.length) }, gesture: null };
  }
  const finger = touch.fingers.find((one) => one.id === id);
  if (!finger) return { touch, gesture: null };
  const hasMoved = touch.hasMoved || Math.hypot(x - finger.x, y - finger.y) > STILL_PX;
  if (type === "move") return { touch: { ...touch, hasMoved }, gesture: null };
  const fingers = touch.fingers.filter((one) => one !== finger);
  const next = { ...touch, fingers, hasMoved: hasMoved || type === "cancel" };
  if (fingers.length > 0 || next.hasMoved) return { touch: next, gesture: null };
  return ofFingers(next, at);
}

function ofFingers(touch, at) {
  const { most, since, tappedAt } = touch;
  const without = { ...touch, tappedAt: null };
  if (most === 2) return { touch: without, gesture: "two-fingers" };
  if (most > 2) return { touch: without, gesture: null };
  if (at - since >= HOLD_MS) return { touch: without, gesture: "hold" };
  if (tappedAt !== null && since - tappedAt < DOUBLE_TAP_MS) {
    return { touch: without, gesture: "double-tap" };
  }
  return { touch: { ...touch, tappedAt: at }, gesture: null };
}
