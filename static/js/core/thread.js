// The questions about a still, and their answers. Pure, as state.js.
//
// A turn: { id, prompt, reading, about, part, thing, detail, step, text, cut, stats, sure, seconds, model, error }. `about`
// is the still that it asks about: in a comparison another one than its thread's. `part` is the region
// that it asks about, null for all, `thing` what is there, { name, place }, if that is known. step: waiting |
// asked | done | failed. `cut` is as in length.js, or { by: "person" } if a person stopped it; `error`
// is { kind, message }; `modelName` and `model`, its title, are those of the model that was asked, which also
// answers; `insteadOf` is the title of another one that runs when the answer comes, or null.

import { fitFrame } from "./frame-size.js";
import { withMargin } from "./geometry.js";
import { languageOf } from "./language.js";
import { cutOf, maxTokensOf } from "./length.js";
import { askedOf, firstPrompt, questionText } from "./prompt.js";
import { pollSoon, serverUnreachable, titleOf } from "./server.js";
import { withAnswer } from "./session.js";
import { NO_CAPTION } from "./shown.js";
import { claimsOf } from "./sure.js";

const UNASKED = { step: "waiting", text: "", cut: null, error: null, insteadOf: null };
/** Earlier questions that go with one: as many as the server takes. */
const MAX_TURNS = 8;
/** Failures after which a question waits and is asked again by itself. */
const ASKED_AGAIN = ["busy", "loading", "unreachable", "timeout"];
const RETRY_MS = 1_000;

export const initialThread = {
  /** The turn in flight: { id, stillId, turnId }, or null. */
  asking: null,
  /** The newest answer about another picture than the one in view, which no caption shows, or null. */
  compared: null,
  lastTurnId: 0,
  lastAskId: 0,
  /** No turn is asked before. */
  askAt: -Infinity,
};

/**
 * `state` with a new turn in the thread of a still. A question has no need of more than its `prompt`; without
 * one it is the server's first preset.
 */
export function withTurn(state, stillId, question) {
  const { prompt = firstPrompt(state), reading = null, about = stillId, thing = null } = question;
  const still = state.stills.find(({ id }) => id === stillId);
  const id = state.lastTurnId + 1;
  const part = about === stillId ? still.part : null;
  const { detail } = still;
  const asked = { id, prompt, reading, about, part, thing, detail, remembers: MAX_TURNS };
  const turn = { ...asked, ...UNASKED };
  const stills = withThread(state.stills, stillId, [...still.thread, turn]);
  return { ...state, stills, lastTurnId: id, askAt: -Infinity };
}

/**
 * What was said of a moment of the timeline as the first turn of its still; `fields` are its id, the still that it is
 * about, and the title and language of its model.
 */
export function keptTurn({ question, text, finish, model: modelName }, fields) {
  const asked = { prompt: question, reading: null, part: null, thing: null, detail: "low" };
  const said = {
    text,
    by: "model",
    cut: cutOf(finish, {}),
    stats: null,
    sure: null,
    seconds: null,
  };
  const turn = { ...UNASKED, ...asked, ...said, step: "done", remembers: MAX_TURNS };
  return { ...turn, modelName, ...fields };
}

/** The turn to ask next, or the one in flight: { stillId, turn }; null if there is none. */
export function dueTurn({ stills, asking }) {
  for (const { id: stillId, thread } of stills) {
    const turn = thread.find((one) => (asking ? one.id === asking.turnId : one.step === "waiting"));
    if (turn) return { stillId, turn };
  }
  return null;
}

/** When to ask the next turn, or null for not now. */
export function nextAsk(state) {
  const mayAsk = state.server.phase === "ready" && state.asking === null;
  return mayAsk && dueTurn(state) ? state.askAt : null;
}

/** The finished turns about the same picture as `turn` before it, the oldest first. */
function turnsBefore(thread, turn) {
  const key = ({ about, part }) => `${about} ${part}`;
  const before = thread.slice(0, thread.indexOf(turn));
  // An imported picture's words may have no question.
  const isWhole = ({ step, text, prompt }) => step === "done" && text.trim() && prompt.trim();
  return before.filter((one) => isWhole(one) && key(one) === key(turn));
}

/** The earlier questions and answers that go with a turn, as the server takes them. */
export function historyOf(thread, turn) {
  const turns = turn.remembers > 0 ? turnsBefore(thread, turn).slice(-turn.remembers) : [];
  return turns.map(({ prompt, text }) => ({ question: prompt, answer: text.trim() }));
}

/**
 * The turn whose answer is compared with that of `turn`, both done, or null: the same question about the other
 * picture. `stillId` is the thread's.
 */
export function comparedTurn(thread, turn, stillId) {
  const isPartner = ({ prompt, step, about }) =>
    prompt === turn.prompt && step === "done" && (about === stillId) !== (turn.about === stillId);
  if (turn.step !== "done") return null;
  const index = thread.indexOf(turn);
  const isBase = turn.about === stillId;
  if (isBase) return thread.slice(index + 1).findLast(isPartner) ?? null;
  return thread.slice(0, index).findLast(isPartner) ?? null;
}

/** Whether the first questions do not go with a turn any more. */
export const forgets = (thread, turn) => turnsBefore(thread, turn).length > turn.remembers;

function withThread(stills, stillId, thread) {
  return stills.map((still) => (still.id === stillId ? { ...still, thread } : still));
}

/** `state` with other fields in the turn in flight. */
function changed(state, fields) {
  const { stillId, turnId } = state.asking;
  const { thread } = state.stills.find(({ id }) => id === stillId);
  const next = thread.map((turn) => (turn.id === turnId ? { ...turn, ...fields } : turn));
  return { ...state, stills: withThread(state.stills, stillId, next) };
}

/** Changes a turn of the thread in view by its id. */
function withTurnChanged(state, turnId, change) {
  const stills = state.stills.map((still) => ({
    ...still,
    thread: still.thread.map((turn) => (turn.id === turnId ? change(turn) : turn)),
  }));
  return { ...state, stills };
}

export const threadHandlers = {
  "ask-started"(state) {
    const due = dueTurn(state);
    if (!due || state.asking) return state;
    const id = state.lastAskId + 1;
    const asking = { id, stillId: due.stillId, turnId: due.turn.id };
    const [maxTokens, claims] = [maxTokensOf(state), claimsOf(state)];
    const modelName = state.server.status?.model ?? null;
    const model = titleOf(state, modelName);
    const fields = { step: "asked", text: "", error: null, maxTokens, claims, modelName, model };
    return changed({ ...state, asking, lastAskId: id }, fields);
  },

  "ask-text"(state, { id, text }) {
    if (state.asking?.id !== id) return state;
    return withAnswerShown(changed(state, { text }), { text, finished: false });
  },

  "ask-done"(state, { id, text, end, stats, sure = null, seconds, clock }) {
    if (state.asking?.id !== id) return state;
    const { turn, still } = inFlight(state);
    const { by = "model", checks = [] } = stats;
    const lang = languageOf({ by, model: turn.modelName, ...state.settings });
    const said = { text, by, lang, cut: cutOf(end, stats) };
    const now = state.server.status?.model ?? null;
    const insteadOf = now === turn.modelName ? null : titleOf(state, now);
    const next = changed(state, { ...said, step: "done", stats, sure, seconds, insteadOf });
    const { prompt, thing, model } = turn;
    const asked = thing ? askedOf(state, prompt) : questionText(state, prompt);
    const session = withAnswer(state.session, {
      ...{ ...said, id: `turn-${turn.id}`, kind: "answer", prompt, asked, thing },
      ...{ model, source: still.source, unsure: sure?.unsure === true },
      from: Math.min(clock, still.clock),
    });
    const caption = { ...said, checks, stats, sure, finished: true };
    return { ...withAnswerShown(next, caption), asking: null, session };
  },

  "ask-failed"(state, { id, kind, message, retryAfterS = 0, at, random }) {
    if (state.asking?.id !== id) return state;
    const { turn, still } = inFlight(state);
    const error = { kind, message };
    const given = { ...state, asking: state.asking };
    const history = historyOf(still.thread, turn);
    // Most likely the chat is too long for the model: without its history it may fit.
    const isTooLong = kind === "refused" && history.length > 0;
    const isUnchecked = kind === "not_supported" && turn.claims !== "off";
    if (!isTooLong && !isUnchecked && !ASKED_AGAIN.includes(kind)) {
      const failed = changed(given, { step: "failed", text: "", error });
      return withOwnWords({ ...failed, asking: null });
    }
    const remembers = isTooLong ? Math.floor(history.length / 2) : turn.remembers;
    const waits = changed(given, { step: "waiting", text: "", error, remembers });
    const claimless = isUnchecked ? turn.modelName : state.claimless;
    const askAt = isTooLong || isUnchecked ? at : at + Math.max(RETRY_MS, retryAfterS * 1000);
    const next = withOwnWords({ ...waits, asking: null, askAt, claimless });
    if (kind === "unreachable") return serverUnreachable(next, message, at, random);
    return isTooLong || isUnchecked ? next : pollSoon(next, at);
  },

  /** "Stop" was pressed beside a turn that is asked or waits: what has come of it stays. */
  "turn-stopped"(state, { turnId }) {
    const asking = state.asking?.turnId === turnId ? null : state.asking;
    const next = withTurnChanged(state, turnId, (turn) =>
      turn.text.trim()
        ? { ...turn, step: "done", cut: { by: "person" }, error: null }
        : { ...turn, step: "failed", error: { kind: "stopped", message: "" } },
    );
    return withOwnWords({ ...next, asking });
  },

  /** "Ask again" or "Longer" was pressed beside a turn. */
  "turn-asked-again"(state, { turnId, at }) {
    const next = withTurnChanged(state, turnId, (turn) => ({ ...turn, ...UNASKED }));
    return { ...next, askAt: at };
  },
};

function inFlight({ stills, asking }) {
  const still = stills.find(({ id }) => id === asking.stillId);
  return { still, turn: still.thread.find(({ id }) => id === asking.turnId) };
}

/** `state` with the answer in flight as the caption, if its thread and the still that it is about are in view. */
function withAnswerShown(state, caption) {
  const { turn } = inFlight(state);
  const { stillId } = state.asking;
  if (state.view.stillId !== stillId) return state;
  if (turn.about === stillId) return { ...state, caption: captionOf(turn, caption) };
  return caption.finished ? { ...state, compared: captionOf(turn, caption) } : state;
}

/** The last answer about a still as its caption; without text if there is none. */
export function lastAnswer({ id, thread }) {
  const turn = thread.findLast(({ step, about }) => step === "done" && about === id);
  if (!turn) return { ...NO_CAPTION, isAnswer: true };
  const { text, by, lang, cut, stats = null, sure = null } = turn;
  return captionOf(turn, { text, by, lang, cut, stats, sure });
}

/**
 * `state` in which no words but its own answers stand over the still in view. Those of the live picture stay
 * only while an answer is on its way: they may be about another picture.
 */
export function withOwnWords(state) {
  const still = state.stills.find(({ id }) => id === state.view.stillId);
  const isOwn = ({ id, finished }) => finished && (id === null || String(id).startsWith("turn-"));
  const isAsking = still !== undefined && state.asking?.stillId === still.id;
  if (!still || isAsking || isOwn(state.caption)) return state;
  return { ...state, caption: lastAnswer(still) };
}

/** `next` without a comparison's answer once something else is said. */
export const withoutCompared = (before, next) =>
  next.compared === null || next.caption === before.caption ? next : { ...next, compared: null };

/** The caption that a turn shows over its picture. */
export function captionOf({ id, prompt, thing }, caption) {
  return {
    ...NO_CAPTION,
    id: `turn-${id}`,
    isAnswer: true,
    isOnce: true,
    prompt,
    thing,
    ...caption,
  };
}

/** The region of the picture that is sent, or null for all of it. */
export const regionOf = ({ part }) => part && withMargin(part);

/**
 * How a still is cut for what is asked about its `part`, or all, in its `detail`, as io/stills.js takes it. The
 * same cut is the same bytes, which the server encodes once.
 */
export function cutFor(state, asked) {
  const maxSidePx = asked.detail === "low" ? fitFrame(state) : null;
  return { region: regionOf(asked), maxSidePx, quality: state.settings.jpegQuality };
}
