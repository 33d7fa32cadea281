// How one caption becomes the next on the screen, word by word.

/** Splits into words, each but the first with the space before it, so that joined they give the text. */
export function splitWords(text) {
  const words = text.trim().split(/\s+/).filter(Boolean);
  return words.map((word, index) => (index === 0 ? word : ` ${word}`));
}

/**
 * The words to show, [{ text, stale }], when `shown` is on the screen and `text` has come so far.
 *
 * Words already there stay. While the caption is not `finished`, what follows the newest word is still
 * the old caption's; it is stale once the two have parted, and goes when the caption is finished. A
 * word cut off midway that the old one at its place completes counts as that word.
 */
export function nextWords(shown, text, finished) {
  const fresh = splitWords(text);
  const newest = fresh.length - 1;
  const cutOff = !finished && !/\s$/.test(text);
  let parted = false;
  const words = fresh.map((word, index) => {
    const before = shown[index];
    if (index === newest && cutOff && before?.text.startsWith(word)) return before;
    parted ||= before !== undefined && before.text !== word;
    return { text: word, stale: false };
  });
  if (finished) return words;
  const rest = shown.slice(fresh.length);
  return [...words, ...rest.map(({ text: old, stale }) => ({ text: old, stale: stale || parted }))];
}
