// The session as it is kept for a reload of this tab, and what is believed of it afterwards. Pure.

import { bounded, entriesOf, initialSession, isMoment } from "./session.js";
import { CAMERA } from "./source.js";

/** A browser keeps about 5 million characters for a page. */
const CHARACTER_LIMIT = 3_000_000;
const TEXTS = ["text", "lang", "prompt", "asked", "by", "model", "source"];
const WHYS = [
  ...["stopped", "frozen", "hidden", "server", "model", "camera", "answer", "unseen"],
  ...["paused", "moved", "source"],
];
/** Answers about stills have ids of their own. */
const TURN_ID = /^turn-(\d+)$/;

/** `session` as JSON, without its oldest entries if they are too long together. */
export function keptText(session, wasRunning, { kind, name } = CAMERA) {
  let entries = entriesOf(session);
  let { gone } = session;
  const source = kind === "camera" ? null : { kind, name };
  let text = JSON.stringify({ entries, gone, wasRunning, source });
  while (text.length > CHARACTER_LIMIT) {
    const half = Math.ceil(entries.length / 2);
    gone += entries.slice(0, half).filter(isMoment).length;
    entries = entries.slice(half);
    text = JSON.stringify({ entries, gone, wasRunning, source });
  }
  return text;
}

/**
 * { session, wasRunning, lostSource } from a text of `keptText`; entries with a wrong field are left out.
 * `lostSource` is what was looked at, { kind, name }, if it was no camera, else null.
 */
export function sessionOf(text) {
  const kept = parsed(text);
  const entries = Array.isArray(kept?.entries) ? kept.entries.map(validEntry).filter(Boolean) : [];
  const wasRunning = kept?.wasRunning === true;
  const lostSource = validSource(kept?.source);
  if (!entries.some(isMoment)) return { session: initialSession, wasRunning, lostSource };
  const gone = Number.isSafeInteger(kept.gone) && kept.gone > 0 ? kept.gone : 0;
  const pause = { why: "stopped", after: lastIdOf({ entries }), since: -Infinity };
  const session = { ...initialSession, entries, gone, cause: "stopped", pauses: [pause] };
  return { session: bounded(session), wasRunning, lostSource };
}

/** The highest id of a moment of live frames, 0 if there is none. */
export const lastIdOf = ({ entries }) =>
  highest(entries.map(({ id }) => (Number.isSafeInteger(id) ? id : 0)));

/** The highest number of an answer about a still, 0 if there is none. */
export const lastTurnOf = ({ entries }) =>
  highest(entries.map(({ id }) => Number(TURN_ID.exec(id)?.[1] ?? 0)));

const highest = (numbers) => numbers.reduce((most, one) => Math.max(most, one), 0);

function validSource(source) {
  const { kind, name } = source ?? {};
  const isKnown = ["screen", "video", "sample"].includes(kind) && typeof name === "string";
  return isKnown ? { kind, name } : null;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The entry with its known fields alone, or null if one of them is wrong. */
function validEntry(entry) {
  const { kind, id, from, to } = entry ?? {};
  if (![from, to].every(Number.isFinite) || to < from) return null;
  if (kind === "gap") {
    const whys = Array.isArray(entry.whys) ? entry.whys.filter((why) => WHYS.includes(why)) : [];
    return typeof id === "string" && whys.length > 0 ? { id, kind, whys, from, to } : null;
  }
  const hasTexts = TEXTS.every((name) => typeof entry[name] === "string");
  const hasId = Number.isSafeInteger(id) || (kind === "answer" && TURN_ID.test(id));
  if (!["caption", "answer"].includes(kind) || !hasId || !hasTexts) return null;
  const texts = Object.fromEntries(TEXTS.map((name) => [name, entry[name]]));
  const [thing, cut] = [validThing(entry.thing), validCut(entry.cut)];
  const [seconds, toSeconds] = [validSeconds(entry.seconds), validSeconds(entry.toSeconds)];
  const unsure = entry.unsure === true;
  return { id, kind, ...texts, thing, cut, unsure, from, to, seconds, toSeconds };
}

/** What the words need of a thing in the picture, or null. */
function validThing(thing) {
  const { column, row } = thing?.place ?? {};
  const isValid = typeof thing?.name === "string" && [column, row].every(Number.isInteger);
  return isValid ? { name: thing.name, place: { column, row } } : null;
}

const validSeconds = (value) => (Number.isFinite(value) && value >= 0 ? value : null);

function validCut(cut) {
  const { by, tokens } = cut ?? {};
  if (!["limit", "loop"].includes(by)) return null;
  return { by, tokens: Number.isSafeInteger(tokens) ? tokens : null };
}
