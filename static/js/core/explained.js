// What the words of an answer about a still looked at, and what the model would have said instead. Pure, as state.js.
//
// A still's `words`: null, or { of, asked, error, answers, chosen, pieces, hidden }. `of` is the answer's key, `asked`
// what is in flight, { kind: looks | estimate | begin | hiding, ... }, or null, `error` { kind, message } of what was
// asked last, or null. `answers` begins with the answer as it was given; each further one goes on from a choice of the
// person's. `chosen` is the index of a word, or of a token if `pieces` are shown; `hidden` is what was found by hiding
// what the chosen word looked at, { before, after, cells, grid }, or null.
//
// An answer: { text, method, grid, words, tokens, region, model, seconds, cut }. `method` is attention | occlusion, or
// null if there are no maps. Words are [{ text, start, end, probability, map, alternatives }], tokens the same without a
// map, or null if they are not known; places are in characters (code points). `region` is the part of the still that
// the grid covers, null for all of it. A token that a person has chosen has `isChosen`.

import { cutOf } from "./length.js";
import { titleOf } from "./server.js";
import { partOf } from "./sure.js";
import { historyOf, regionOf } from "./thread.js";
import { stillOf, withStill } from "./view.js";

/** Other words that are shown for each. */
export const ALTERNATIVES = 5;

export const initialExplained = {
  /** What is asked about words: { id, stillId }, or null. */
  explaining: null,
  lastExplainId: 0,
};

const lengthOf = (text) => [...text].length;
const overlaps = (one, other) => one.start < other.end && other.start < one.end;

/** The turn whose answer is the still's caption, or null. */
export const explainedTurn = ({ id, thread }) =>
  thread.findLast(({ step, about }) => step === "done" && about === id) ?? null;

const keyOf = ({ id, text }) => `${id} ${text}`;

/** The words of the still in view, if they are those of its last answer, else null. */
export function wordsInView(state) {
  const still = stillOf(state);
  const turn = still && explainedTurn(still);
  return turn && still.words?.of === keyOf(turn) ? still.words : null;
}

/** The answer that is shown of `words`, or null. */
export const answerOf = (words) => words?.answers.at(-1) ?? null;

/** Why words cannot be explained: none | live | waiting | finder | reader | remote | other | server. */
export function hindrance(state) {
  const still = stillOf(state);
  if (!still) return "live";
  const turn = explainedTurn(still);
  if (!turn) return "waiting";
  if (turn.by !== "model") return turn.by;
  if (state.server.phase !== "ready") return "server";
  if (turn.modelName !== state.server.status.model) return "other";
  return state.server.status.remote ? "remote" : "none";
}

/** Whether the words of the answer in view are explained by themselves now. */
export function isExplainDue(state) {
  const isShown = state.panel === "explain" && state.view.segment === "explained";
  if (!isShown || state.explaining || state.asking || hindrance(state) !== "none") return false;
  return wordsInView(state) === null;
}

/**
 * What can be chosen of an answer: its words, or its tokens. Each has { text, start, end, probability, map, others },
 * others [{ text, probability, token, other }] are likely ones in place of its first token, the `other`th
 * alternative of the `token`th token; `token` is null if the answer cannot go on from it.
 */
export function unitsOf({ words, tokens }, pieces) {
  const mapOf = (one) => words.find((word) => overlaps(word, one))?.map ?? null;
  const shown = pieces && tokens ? tokens.filter(({ text }) => text.trim()) : words;
  return shown.map((one) => {
    const token = tokens ? tokens.findIndex((each) => overlaps(each, one)) : -1;
    const alternatives = tokens?.[token]?.alternatives ?? one.alternatives ?? [];
    const others = alternatives.map(({ text, probability }, other) => ({
      ...{ text: text.trim(), probability, other, isEnd: text === "" },
      token: token >= 0 && isChoice(text) ? token : null,
    }));
    const isChosen = tokens?.some((each) => each.isChosen && overlaps(each, one)) ?? false;
    return { ...one, text: one.text.trim(), map: mapOf(one), others, isChosen };
  });
}

/** Blanks alone, and a part of a character, are nothing to go on from. */
const isChoice = (text) => text.trim() !== "" && !text.includes("\ufffd");

/** The chosen one of the units of `words`, or null. */
export function chosenUnit(words) {
  const answer = answerOf(words);
  return answer && words.chosen !== null
    ? (unitsOf(answer, words.pieces)[words.chosen] ?? null)
    : null;
}

/**
 * What an answer goes on from if the alternative `at` stands in place of its token `index`: { begin, tokens }, the text
 * and its tokens up to there.
 */
export function branchOf({ text, tokens }, index, at) {
  const { start, end, alternatives, ...token } = tokens[index];
  const other = alternatives[at];
  const own = { text: partOf(text, start, end), probability: token.probability };
  const begin = `${partOf(text, 0, start)}${other.text}`.trimStart().trimEnd();
  const chosen = {
    ...{ text: other.text, start, end: lengthOf(begin), probability: other.probability },
    ...{ alternatives: [own, ...alternatives.filter((one) => one !== other)], isChosen: true },
  };
  return { begin, tokens: [...tokens.slice(0, index), chosen] };
}

/** The words of a text with known tokens. */
function wordsFrom(text, tokens) {
  const found = [...text.matchAll(/\S+/g)];
  return found.map((match) => {
    const start = lengthOf(text.slice(0, match.index));
    const word = { text: match[0], start, end: start + lengthOf(match[0]) };
    const own = tokens.filter((token) => overlaps(token, word));
    return { ...word, probability: own.reduce((all, one) => all * one.probability, 1), map: null };
  });
}

/** The answer of a `done` event with `looks`, as fetchCaption returns it. */
function answerFrom({ text, looks, sure, tokens, stats, finish_reason: end }, branch) {
  const cut = cutOf(end, stats);
  if (branch) {
    const lead = lengthOf(branch.begin);
    const moved = tokens.map((one) => ({ ...one, start: one.start + lead, end: one.end + lead }));
    const [all, whole] = [[...branch.tokens, ...moved], `${branch.begin}${text}`];
    return {
      text: whole,
      method: null,
      grid: null,
      words: wordsFrom(whole, all),
      tokens: all,
      cut,
    };
  }
  const others = (word) => sure?.words.find(({ start }) => start === word.start)?.alternatives;
  const words = (looks?.words ?? sure?.words ?? []).map((word) => ({
    ...word,
    map: word.map ?? null,
    alternatives: others(word) ?? [],
  }));
  const [method, grid] = looks ? [looks.method, looks.grid] : [null, null];
  return { text, method, grid, words, tokens: tokens ?? null, cut };
}

/** `state` without anything in flight about words; `fields` are then those of their still's words. */
function ended(state, fields) {
  if (!state.explaining) return state;
  const still = state.stills.find(({ id }) => id === state.explaining.stillId);
  const next = { ...state, explaining: null };
  return still?.words
    ? withStill(next, { ...still, words: { ...still.words, asked: null, ...fields } })
    : next;
}

const STOPPED = { error: { kind: "stopped", message: "" } };

/** `state` with `asked` in flight about the words of the still in view. */
function asking(before, asked) {
  const state = ended(before, STOPPED);
  const still = stillOf(state);
  const turn = still && explainedTurn(still);
  if (!turn || state.server.phase !== "ready") return before;
  const id = state.lastExplainId + 1;
  const empty = { of: keyOf(turn), answers: [], chosen: null, pieces: false, hidden: null };
  const isNew = ["looks", "estimate"].includes(asked.kind);
  const words = { ...(isNew ? empty : still.words), asked, error: null };
  const next = { ...state, explaining: { id, stillId: still.id }, lastExplainId: id };
  return withStill(next, { ...still, words });
}

function withWords(state, change) {
  const words = wordsInView(state);
  return words
    ? withStill(state, { ...stillOf(state), words: { ...words, ...change(words) } })
    : state;
}

/** The fields of the request about the words of a still, without its picture. */
export function explainFields({ thread, words }) {
  const turn = thread.find((one) => keyOf(one) === words.of);
  const { prompt, reading, detail, claims, maxTokens } = turn;
  const asked = { prompt, reading, detail, kind: "question", turns: historyOf(thread, turn) };
  const { kind, begin } = words.asked;
  if (kind === "begin") return { ...asked, begin, alternatives: ALTERNATIVES };
  if (kind === "estimate") return { ...asked, claims, maxTokens, explain: "estimate" };
  // Without what was left out, the tokens are not those of the text.
  const alternatives = claims === "strict" ? null : ALTERNATIVES;
  return { ...asked, claims, maxTokens, explain: "1", alternatives };
}

export const explainedHandlers = {
  /** `kind` is "looks" or "estimate". */
  "words-asked": (state, { kind }) =>
    ["live", "waiting", "server"].includes(hindrance(state)) ? state : asking(state, { kind }),

  /** The answer goes on from the alternative `other` in place of a token of it. */
  "words-branched"(state, { token, other }) {
    const answer = answerOf(wordsInView(state));
    if (!answer?.tokens?.[token]?.alternatives[other]) return state;
    return asking(state, { kind: "begin", ...branchOf(answer, token, other) });
  },

  "words-hiding-asked"(state) {
    const words = wordsInView(state);
    const unit = chosenUnit(words);
    if (!unit) return state;
    const { text } = answerOf(words);
    return asking(state, { kind: "hiding", text, start: unit.start, end: unit.end });
  },

  /** `answer` is as fetchCaption or fetchHiding of io/api.js returns it. */
  "words-done"(state, { id, answer, seconds }) {
    if (state.explaining?.id !== id) return state;
    const still = state.stills.find((one) => one.id === state.explaining.stillId);
    if (!still?.words) return ended(state, {});
    const { asked, answers, pieces } = still.words;
    if (asked.kind === "hiding") return ended(state, { hidden: answer });
    const turn = still.thread.find((one) => keyOf(one) === still.words.of);
    const model = titleOf(state, state.server.status?.model);
    const from = { region: turn ? regionOf(turn) : null, model, seconds };
    const branch = asked.kind === "begin" ? asked : null;
    const next = { ...answerFrom(answer, branch), ...from };
    const chosen = branch ? unitsOf(next, pieces).findLastIndex((unit) => unit.isChosen) : null;
    const fields = { answers: [...answers, next], chosen, hidden: null };
    return ended(state, next.words.length > 0 ? fields : { error: { kind: "empty", message: "" } });
  },

  "words-failed"(state, { id, kind, message }) {
    return state.explaining?.id === id ? ended(state, { error: { kind, message } }) : state;
  },

  "words-stopped": (state) => ended(state, STOPPED),

  /** `index` of a word or a piece, or null. */
  "word-chosen"(state, { index }) {
    const next = wordsInView(state)?.asked?.kind === "hiding" ? ended(state, {}) : state;
    return withWords(next, ({ chosen, hidden }) => ({
      chosen: index,
      hidden: index === chosen ? hidden : null,
    }));
  },

  "pieces-toggled": (state) =>
    withWords(state, ({ pieces }) => ({ pieces: !pieces, chosen: null, hidden: null })),

  /** Back to the answer before the last choice. */
  "words-back": (state) =>
    withWords(ended(state, STOPPED), ({ answers }) => ({
      ...{ answers: answers.length > 1 ? answers.slice(0, -1) : answers },
      ...{ chosen: null, hidden: null, error: null },
    })),
};

/**
 * The heat over the still in view, { grid, map, region }, or null: what the chosen word looked at, or, if that is not
 * known, the cells that were hidden.
 */
export function heatInView(state) {
  if (state.panel !== "explain" || state.view.segment !== "explained") return null;
  const words = wordsInView(state);
  const unit = chosenUnit(words);
  if (!unit) return null;
  const { grid, region } = answerOf(words);
  if (unit.map) return { grid, map: unit.map, region };
  if (!words.hidden) return null;
  const [rows, columns] = words.hidden.grid;
  const map = Array.from({ length: rows * columns }, (_, cell) =>
    words.hidden.cells.includes(cell) ? 1 : 0,
  );
  return { grid: words.hidden.grid, map, region };
}
