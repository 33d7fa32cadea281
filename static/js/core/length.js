// How long an answer may be. Pure.

/** The most tokens of each length; null is the server's own bound. */
const TOKENS = { short: 24, medium: null, long: 160 };
export const LENGTHS = Object.keys(TOKENS);

/** The most tokens of an answer, or null for the server's bound. */
export const maxTokensOf = ({ settings }) => TOKENS[settings.length];

/** The next longer length, or null if there is none. */
export const longerThan = (length) => LENGTHS[LENGTHS.indexOf(length) + 1] ?? null;
