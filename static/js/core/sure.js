// How sure the model is of its words, and which things that it named it denies when it is asked. Pure.
//
// `sure` of a caption or turn is null or as the server has it: { probability, unsure, threshold, words }, words
// [{ text, start, end, probability, alternatives }]. The server counts characters (code points), strings here
// count UTF-16 units.

/** Words from these probabilities on are sure, or fairly sure. */
const SURE_FROM = 0.9;
const FAIRLY_FROM = 0.5;

/** "sure", "fairly" or "unsure". */
export function gradeOf(probability) {
  if (probability >= SURE_FROM) return "sure";
  return probability >= FAIRLY_FROM ? "fairly" : "unsure";
}

/** The part of `text` from character `start` to `end`. */
export const partOf = (text, start, end) => [...text].slice(start, end).join("");

/** How captions are checked: the setting, but "off" for a model that is known not to answer such questions. */
export function claimsOf({ settings, server, claimless }) {
  const { status } = server;
  const isAsked = !status?.remote && (claimless === null || claimless !== status?.model);
  return isAsked ? settings.claims : "off";
}

/**
 * The words of `text` without the blanks around it that are in doubt: [{ from, to, kind }] in order, `kind` "denied"
 * for those of a claim that is not supported, else "unsure".
 */
export function doubtsOf(text, { sure, stats }) {
  const lead = text.length - text.trimStart().length;
  const place = ({ start, end }) => {
    const from = partOf(text, 0, start).length - lead;
    return { from, to: from + partOf(text, start, end).length };
  };
  const denied = (stats?.claims ?? [])
    .filter(({ supported, start }) => !supported && start !== null)
    .map((claim) => ({ ...place(claim), kind: "denied" }));
  const unsure = (sure?.words ?? [])
    .filter(({ probability }) => gradeOf(probability) === "unsure")
    .map((word) => ({ ...place(word), kind: "unsure" }))
    .filter(({ from, to }) => !denied.some((one) => from < one.to && one.from < to));
  return [...denied, ...unsure].sort((one, other) => one.from - other.from);
}
