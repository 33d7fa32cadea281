// Where the words stand in a caption that the object finder compared with the picture. Pure.

/**
 * The places of the checked words: [{ from, to, verdict }], in order of the text. `checks` are those of
 * the caption's statistics. A word that occurs twice is marked as often as it was checked.
 */
export function markedSpans(text, checks) {
  const spans = [];
  for (const { word, verdict } of checks) {
    if (verdict === "not_checkable") continue;
    const pattern = new RegExp(`(?<![\\p{L}\\p{N}])${escaped(word)}(?![\\p{L}\\p{N}])`, "giu");
    const free = [...text.matchAll(pattern)].find(
      ({ index }) => !spans.some(({ from, to }) => index < to && index + word.length > from),
    );
    if (free) spans.push({ from: free.index, to: free.index + word.length, verdict });
  }
  return spans.sort((one, other) => one.from - other.from);
}

const escaped = (word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
