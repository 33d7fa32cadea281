// Which captions a screen reader hears: finished ones that say something new, with time to listen.

export const ANNOUNCE_GAP_MS = 7_000;

export const silence = { text: "", at: -Infinity };

/**
 * The announcement due at `at`, or `last` again where there is nothing new or it is too soon.
 *
 * `last` is the one before ({ text, at }) and `caption` what is on the screen ({ text, finished }).
 * Called again later it gives the newest caption, so that one skipped for time is never read late.
 */
export function nextAnnouncement(last, caption, at) {
  const text = caption.text.trim();
  if (!caption.finished || !text || text === last.text) return last;
  return at - last.at < ANNOUNCE_GAP_MS ? last : { text, at };
}
