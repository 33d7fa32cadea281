// What is in view: the live picture, or a still, one frame that stays. Pure, as state.js.
//
// A still: { id, picture, width, height, clock, source, seconds, isFile, mirrors, part, detail, thread, labels,
// words, studies }, and `momentId`, the id of the moment of the timeline whose small picture it is, if it is one.
// `picture` is a JPEG of the whole frame, `clock` when it was taken in milliseconds since 1970, `source` where
// from, `seconds` the place in a video, or null, `isFile` whether it is a picture file, `mirrors` whether it is shown
// mirrored if the person wants that, `part` the region that the next question is about, or null, `detail` how
// finely it is looked at, "low" or "high"; thread.js describes the questions, labels.js the labels, explained.js the words,
// studies.js its `studies`.

import { backToLive } from "./live.js";
import { promptOf, readingOf } from "./prompt.js";
import { start } from "./running.js";
import { sourceTitle } from "./source.js";
import { lastAnswer, withOwnWords, withTurn } from "./thread.js";

/** Stills that this tab keeps; each is a few hundred kilobytes. */
export const STILL_LIMIT = 20;
/** How long it is told that a still is gone. */
const GONE_TOLD_MS = 12_000;

export const initialView = {
  /** The still in view, or null for the live picture. */
  stillId: null,
  /** A still to be taken: { id, questions }, which are then asked about it; none: the standing one. */
  freezing: null,
  /** The live picture's last whole caption, while something else is in view. */
  liveCaption: null,
  lastStillId: 0,
  /** What the panel that explains shows: the name of a segment in ui/explain.js. */
  segment: "explained",
  /** When a still was last to be shown that is gone. */
  goneAt: -Infinity,
};

/** The still in view, or null. */
export const stillOf = ({ view, stills }) => stills.find(({ id }) => id === view.stillId) ?? null;

/** Whether the live picture gives way, and nothing of it is captioned. */
export const isFrozen = ({ view }) => view.stillId !== null || view.freezing !== null;

/** Whether it is to be told that a still is gone. */
export const isStillGone = ({ view }, at) => at - view.goneAt < GONE_TOLD_MS;

/** The still before (-1) or after (1) the one in view, or null. */
export function neighbourOf({ view, stills }, step) {
  const index = stills.findIndex(({ id }) => id === view.stillId);
  return index < 0 ? null : (stills[index + step] ?? null);
}

/** `state` with another still. */
export function withStill(state, next) {
  return { ...state, stills: state.stills.map((still) => (still.id === next.id ? next : still)) };
}

/** `state` while the next frame is awaited, with one more question about it, or null. */
export function freezing(state, question) {
  const questions = [...(state.view.freezing?.questions ?? []), ...(question ? [question] : [])];
  const id = state.view.lastStillId + 1;
  const liveCaption = state.view.liveCaption ?? wholeCaption(state);
  const view = { ...state.view, freezing: { id, questions }, lastStillId: id, liveCaption };
  return { ...state, view, request: null, problem: null };
}

const wholeCaption = ({ caption, whole }) => (caption.finished ? caption : whole);

/** `state` with one more still; the oldest goes if there are too many. */
export function withNewStill(state, fields) {
  const asked = { thread: [], labels: null, words: null, studies: {} };
  const empty = { part: null, detail: "low", ...asked };
  const still = { ...empty, isFile: false, seconds: null, ...fields };
  return { ...state, stills: [...withoutOldest(state), still] };
}

const standingQuestion = (state) => ({
  prompt: promptOf(state) ?? undefined,
  reading: readingOf(state),
});

/** `state` with a picture file in view, which is captioned the first time. */
export function withPictureInView(state, id) {
  const still = state.stills.find((one) => one.id === id);
  const next = withStillInView(state, still);
  return still.thread.length > 0 ? next : withTurn(next, id, standingQuestion(state));
}

/** `state` with the last answer about a still as its caption, or none. */
export function withStillInView(state, still) {
  const liveCaption = state.view.liveCaption ?? wholeCaption(state);
  const view = { ...state.view, stillId: still.id, freezing: null, liveCaption };
  return { ...state, view, caption: lastAnswer(still), request: null };
}

/** The stills with room for one more; the one in view and those whose questions are open stay. */
function withoutOldest({ stills, view }) {
  if (stills.length < STILL_LIMIT) return stills;
  const isOpen = ({ step }) => ["waiting", "asked"].includes(step);
  const index = stills.findIndex(({ id, thread }) => id !== view.stillId && !thread.some(isOpen));
  return stills.filter((_, at) => at !== index);
}

export const viewHandlers = {
  "panel-toggled"(state, { panel }) {
    return { ...state, panel: state.panel === panel ? null : panel };
  },

  /**
   * A question, as in thread.js, is asked about the still in view, or else about the next frame, which becomes
   * one. With `part`, a region, and `thing` it is about that part of the next frame.
   */
  "question-asked"(state, { question, at }) {
    const { stillId } = state.view;
    const next = { ...state, panel: "ask" };
    return stillId === null
      ? freezing(start(next, at), question)
      : withTurn(next, stillId, question);
  },

  /** "Freeze" or "Back to live" was pressed. */
  "freeze-pressed"(state, { at }) {
    if (isFrozen(state)) return backToLive(state, at);
    const isLive = state.started && state.camera.phase === "live";
    return isLive ? freezing(state, null) : state;
  },

  /** "Freeze and explain" was pressed: the next frame stays, after a start if need be. */
  "explain-asked"(state, { at }) {
    const next = { ...state, panel: "explain" };
    return isFrozen(state) ? next : freezing(start(next, at), null);
  },

  "segment-chosen"(state, { segment }) {
    return { ...state, view: { ...state.view, segment } };
  },

  "still-taken"(state, { id, picture, width, height, seconds = null, clock }) {
    if (state.view.freezing?.id !== id) return state;
    const { questions } = state.view.freezing;
    const part = questions.at(-1)?.part ?? null;
    const from = { source: sourceTitle(state), mirrors: state.source.kind === "camera", seconds };
    const taken = withNewStill(state, { id, picture, width, height, clock, part, ...from });
    const view = { ...state.view, stillId: id, freezing: null };
    const asked = questions.length > 0 ? questions : [standingQuestion(state)];
    const next = asked.reduce((before, one) => withTurn(before, id, one), { ...taken, view });
    return state.server.phase === "ready" ? next : withOwnWords(next);
  },

  "still-failed"(state, { id, kind, message, at }) {
    if (state.view.freezing?.id !== id) return state;
    return { ...backToLive(state, at), problem: { kind, message } };
  },

  /** The address, or a button, names what is to be in view; a still that is gone is not. */
  "view-opened"(state, { stillId, panel, at }) {
    const still = state.stills.find(({ id }) => id === stillId);
    if (still) {
      if (state.view.stillId === stillId) return { ...state, panel };
      const next = still.isFile ? withPictureInView(state, stillId) : withStillInView(state, still);
      return { ...next, panel };
    }
    const next = { ...(isFrozen(state) ? backToLive(state, at) : state), panel };
    return stillId === null ? next : { ...next, view: { ...next.view, goneAt: at } };
  },

  /** `region` is the part of the still that the next question is about, null for all of it. */
  "part-chosen"(state, { region }) {
    const still = stillOf(state);
    return still ? withStill(state, { ...still, part: region }) : state;
  },

  "detail-chosen"(state, { detail }) {
    const still = stillOf(state);
    return still ? withStill(state, { ...still, detail }) : state;
  },

  /** The last question is asked about the still `about` too. */
  compared(state, { about }) {
    const still = stillOf(state);
    if (!still || !state.stills.some(({ id }) => id === about)) return state;
    const { prompt, reading } = still.thread.at(-1) ?? {};
    return withTurn(state, still.id, { prompt, reading, about });
  },
};
