// Which words of one text are not in another, in order. Pure.

const BARE = /[^\p{L}\p{N}]+/gu;
const bare = (word) => word.toLowerCase().replace(BARE, "") || word;

/** The words of a text, each with the white space before it. */
export const wordsOf = (text) => text.match(/\s*\S+/g) ?? [];

/**
 * For each word of `one` whether it is none of the longest common sequence of words of `one` and `other`. Case and
 * punctuation do not count.
 */
export function apart(one, other) {
  const [mine, theirs] = [one, other].map((text) => wordsOf(text).map((word) => bare(word.trim())));
  const lengths = Array.from({ length: mine.length + 1 }, () => Array(theirs.length + 1).fill(0));
  for (let i = mine.length - 1; i >= 0; i -= 1) {
    for (let j = theirs.length - 1; j >= 0; j -= 1) {
      lengths[i][j] =
        mine[i] === theirs[j]
          ? lengths[i + 1][j + 1] + 1
          : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  let [i, j] = [0, 0];
  const isApart = mine.map(() => true);
  while (i < mine.length && j < theirs.length) {
    if (mine[i] === theirs[j]) {
      isApart[i] = false;
      i += 1;
      j += 1;
    } else if (lengths[i + 1][j] >= lengths[i][j + 1]) i += 1;
    else j += 1;
  }
  return isApart;
}
