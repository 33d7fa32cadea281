// How long an answer may be, and how one was cut. Pure.

/** The most tokens of each length; null is the server's own bound. */
const TOKENS = { short: 24, medium: null, long: 160 };
export const LENGTHS = Object.keys(TOKENS);

/** The most tokens of an answer, or null for the server's bound. */
export const maxTokensOf = ({ settings }) => TOKENS[settings.length];

/** The next longer length, or null if there is none. */
export const longerThan = (length) => LENGTHS[LENGTHS.indexOf(length) + 1] ?? null;

/**
 * How an answer was cut, { by: "limit" | "loop", tokens }, or null; `end` is its finish_reason, `tokens` how
 * many it has, or null.
 */
export function cutOf(end, { tokens = null }) {
  const by = { length: "limit", loop: "loop" }[end];
  return by ? { by, tokens } : null;
}
