// This tab's session: what was said of which time, and the gaps in between. Pure, as state.js.
//
// A caption lasts from the frame it was said of to the next look at the camera that shows something else.
// Equal captions in a row are one moment, but only if nothing lay between them: a moment never covers a
// time in which nobody looked. Such a time is a gap. Moments of captions and gaps follow each other
// without a hole; answers about a part of the picture stand among them and cover no time.
//
// A moment: { id, kind: "caption" | "answer", text, lang, prompt, asked, by, thing, cut, unsure, model,
// source, from, to, seconds, toSeconds }. `asked` is the question as a person reads it, "" for the server's first
// preset; `thing` and `cut` are those of the caption (shown.js); `unsure` tells that the model was; `model` and `source` are titles; `from` and `to`
// are milliseconds since 1970, `seconds` and `toSeconds` the places in a video, else null. A gap:
// { id, kind: "gap", whys, from, to }.

import { sendsPictures } from "./camera.js";
import { isAtRest } from "./source.js";

/** Moments that are kept. */
export const MOMENT_LIMIT = 5_000;
/** Time to undo "Clear". */
export const UNDO_MS = 10_000;
/** An equal caption prolongs the last one if nobody looked for at most this long. */
const LONGEST_BLINK_MS = 15_000;

export const initialSession = {
  /** Moments and gaps, oldest first. */
  entries: [],
  /** How many moments went because there were too many. */
  gone: 0,
  /** Entries that were cleared and can be brought back until UNDO_MS after `clearedAt`. */
  clearedCount: 0,
  clearedAt: -Infinity,
  /** Why nobody looks now, or null: stopped | frozen | hidden | server | model | paused | camera. */
  cause: null,
  /**
   * The interruptions since the last caption: { why, after, since }, with the newest request before it and
   * its time. A frame may be taken after an interruption that its request was begun before.
   */
  pauses: [],
  /** Whether a frame has failed since the last caption. */
  hadTrouble: false,
};

/** The entries to show, oldest first. */
export const entriesOf = ({ entries, clearedCount }) =>
  clearedCount > 0 ? entries.slice(clearedCount) : entries;

/** The gap that is still open, { whys, from }, or null. */
export function openGapOf(session) {
  const last = lastCaption(entriesOf(session));
  const whys = [...new Set(session.pauses.map(({ why }) => why))];
  return last && session.cause !== null && whys.length > 0 ? { whys, from: last.to } : null;
}

/** Whether "Clear" can be undone at `at`. */
export const canUndo = ({ clearedCount, clearedAt }, at) =>
  clearedCount > 0 && at - clearedAt < UNDO_MS;

export const sessionHandlers = {
  "history-cleared"(state, { at }) {
    const { session } = state;
    const clearedCount = session.entries.length;
    return { ...state, session: { ...session, clearedCount, clearedAt: at } };
  },

  "history-restored"(state) {
    return { ...state, session: { ...state.session, clearedCount: 0 } };
  },

  "session-kept"(state, { isKept }) {
    return state.keepsSession === isKept ? state : { ...state, keepsSession: isKept };
  },

  /** The person does not go on with the captions that ran before a reload. */
  "not-continued"(state) {
    return { ...state, wasRunning: false };
  },
};

/** `state` after an event, with what the event means for the session. */
export function withInterruptions(state, { at, clock }) {
  let { session } = state;
  const cause = interruptionOf(state);
  if (cause !== session.cause) {
    const after = state.lastRequestId;
    const pending = session.pauses.filter((one) => one.after === after);
    // After a stop a camera has to open: that is no reason of its own.
    const isOpening = state.camera.phase === "opening" && pending.length > 0;
    const isNew = cause !== null && !isOpening && !pending.some(({ why }) => why === cause);
    const pauses = isNew
      ? [...session.pauses, { why: cause, after, since: clock }]
      : session.pauses;
    session = { ...session, cause, pauses };
  }
  if (session.clearedCount > 0 && !canUndo(session, at)) session = withoutCleared(session);
  return session === state.session ? state : { ...state, session };
}

/** Why nobody looks at the scene, or null. */
function interruptionOf(state) {
  const { started, visible, settings, server, camera, view } = state;
  if (!started) return "stopped";
  if (view.stillId !== null || view.freezing !== null) return "frozen";
  if (!visible && !settings.background) return "hidden";
  if (["gone", "connecting"].includes(server.phase)) return "server";
  if (server.phase !== "ready") return "model";
  if (isAtRest(state)) return "paused";
  return sendsPictures(camera) && !camera.isBlack ? null : "camera";
}

/** `session` after a jump to another place of a video: what lies between was not looked at. */
export const withJump = (session, after, since) => ({
  ...session,
  pauses: [...session.pauses, { why: "moved", after, since }],
});

/** `session` after a frame has failed. */
export const withTrouble = (session) => ({ ...session, hadTrouble: true });

/** `session` with a caption; `moment` has all fields but `to`, `from` is when its frame was taken. */
export function withCaption(session, moment) {
  if (!moment.text.trim()) return session;
  const { entries, clearedCount } = session;
  const index = entries.findLastIndex(isCaption);
  const last = entries[index];
  const from = Math.max(moment.from, last?.to ?? -Infinity);
  const whys = last ? whysBetween(session, last, moment, index) : [];
  const pauses = session.pauses.filter(
    ({ after, since }) => after >= moment.id && since >= moment.from,
  );
  const next = { ...session, pauses, hadTrouble: false };
  const isFresh = !last || index < clearedCount || whys.length > 0 || !isSame(last, moment);
  const prolonged = last && { ...last, to: from, toSeconds: moment.seconds };
  if (!isFresh) return { ...next, entries: entries.with(index, prolonged) };
  const added = { ...moment, from, to: from, toSeconds: moment.seconds };
  if (!last) return bounded({ ...next, entries: [...entries, added] });
  if (whys.length === 0) {
    const before = entries.with(index, prolonged);
    return bounded({ ...next, entries: [...before, added] });
  }
  const gap = { id: `gap-${moment.id}`, kind: "gap", whys, from: last.to, to: from };
  return bounded({ ...next, entries: [...entries, gap, added] });
}

/** `session` after a look, { id, from, seconds }, has shown the scene of the last caption. */
export function withUnchangedLook(session, { id, from, seconds }) {
  const last = lastCaption(session.entries);
  return last ? withCaption(session, { ...last, id, from, seconds }) : session;
}

/** `session` with an answer about a part of the picture. */
export function withAnswer(session, moment) {
  if (!moment.text.trim()) return session;
  const { seconds = null } = moment;
  const added = { ...moment, to: moment.from, seconds, toSeconds: seconds };
  return bounded({ ...session, entries: [...session.entries, added] });
}

/** The last moment of the entries that are not cleared, or undefined. */
export const lastMoment = (session) => entriesOf(session).findLast(isMoment);

export const isMoment = ({ kind }) => kind !== "gap";
const isCaption = ({ kind }) => kind === "caption";
const lastCaption = (entries) => entries.findLast(isCaption);

const SAME = ["text", "prompt", "by", "model", "source"];
const isSame = (one, other) => SAME.every((key) => one[key] === other[key]);

/** Why the time between `last`, the entry at `index`, and `moment` is a gap; empty if it is none. */
function whysBetween({ pauses, hadTrouble, entries }, last, moment, index) {
  const isOther = last.source !== moment.source;
  const whys = pauses
    .filter(({ after, since }) => after < moment.id || since <= moment.from)
    .map(({ why }) => why)
    // Another source has to open, and what the one before did is over.
    .filter((why) => !isOther || !["camera", "paused", "moved"].includes(why));
  if (last.model !== moment.model) whys.push("model");
  if (isOther) whys.push("source");
  if (whys.length === 0 && moment.from - last.to > LONGEST_BLINK_MS) {
    const wasAsked = entries.slice(index).some(({ kind }) => kind === "answer");
    whys.push(hadTrouble ? "server" : wasAsked ? "answer" : "unseen");
  }
  return [...new Set(whys)];
}

function withoutCleared(session) {
  return { ...session, entries: entriesOf(session), clearedCount: 0, gone: 0 };
}

/** `session` without its oldest moments if there are too many, and without gaps that begin it. */
export function bounded(session) {
  const { entries, clearedCount, gone } = session;
  if (entries.length <= MOMENT_LIMIT) return session;
  const excess = entries.filter(isMoment).length - MOMENT_LIMIT;
  if (excess <= 0) return session;
  let dropped = 0;
  let left = excess;
  while (left > 0 || !isMoment(entries[dropped])) {
    left -= isMoment(entries[dropped]) ? 1 : 0;
    dropped += 1;
  }
  return {
    ...session,
    entries: entries.slice(dropped),
    clearedCount: Math.max(0, clearedCount - dropped),
    gone: gone + excess,
  };
}
