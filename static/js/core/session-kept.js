// The session as it is kept for a reload of this tab, and what is believed of it afterwards. Pure.

import { bounded, entriesOf, initialSession, isMoment } from "./session.js";

/** A browser keeps about 5 million characters for a page. */
const CHARACTER_LIMIT = 3_000_000;
const TEXTS = ["text", "lang", "prompt", "asked", "by", "model", "source"];
const WHYS = ["stopped", "frozen", "hidden", "server", "model", "camera", "answer", "unseen"];

/** `session` as JSON, without its oldest entries if they are too long together. */
export function keptText(session, wasRunning) {
  let entries = entriesOf(session);
  let { gone } = session;
  let text = JSON.stringify({ entries, gone, wasRunning });
  while (text.length > CHARACTER_LIMIT) {
    const half = Math.ceil(entries.length / 2);
    gone += entries.slice(0, half).filter(isMoment).length;
    entries = entries.slice(half);
    text = JSON.stringify({ entries, gone, wasRunning });
  }
  return text;
}

/** { session, wasRunning } from a text of `keptText`; entries with a wrong field are left out. */
export function sessionOf(text) {
  const kept = parsed(text);
  const entries = Array.isArray(kept?.entries) ? kept.entries.map(validEntry).filter(Boolean) : [];
  const wasRunning = kept?.wasRunning === true;
  if (!entries.some(isMoment)) return { session: initialSession, wasRunning };
  const gone = Number.isSafeInteger(kept.gone) && kept.gone > 0 ? kept.gone : 0;
  const pause = { why: "stopped", after: lastIdOf({ entries }), since: -Infinity };
  const session = { ...initialSession, entries, gone, cause: "stopped", pauses: [pause] };
  return { session: bounded(session), wasRunning };
}

/** The highest id of a moment, 0 if there is none. */
export const lastIdOf = ({ entries }) =>
  entries.filter(isMoment).reduce((highest, { id }) => Math.max(highest, id), 0);

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
  if (!["caption", "answer"].includes(kind) || !Number.isSafeInteger(id) || !hasTexts) return null;
  const texts = Object.fromEntries(TEXTS.map((name) => [name, entry[name]]));
  const [thing, cut] = [validThing(entry.thing), validCut(entry.cut)];
  return { id, kind, ...texts, thing, cut, from, to };
}

/** What the words need of a thing in the picture, or null. */
function validThing(thing) {
  const { column, row } = thing?.place ?? {};
  const isValid = typeof thing?.name === "string" && [column, row].every(Number.isInteger);
  return isValid ? { name: thing.name, place: { column, row } } : null;
}

function validCut(cut) {
  const { by, tokens } = cut ?? {};
  if (!["limit", "loop"].includes(by)) return null;
  return { by, tokens: Number.isSafeInteger(tokens) ? tokens : null };
}
