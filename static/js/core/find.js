// Finding a thing by its name: which of the things in the picture it is, what is told about it and how
// high the tone for the ear is. Pure. The server knows what the words mean; while a thing is looked for,
// its answers have only what may be meant.

import { areaOf, nearnessOf } from "./geometry.js";

/** A thing that flickers is not told as gone. */
const GONE_AFTER_MS = 1_500;
/** Between two sentences about a thing that moves. */
const TELL_EVERY_MS = 2_500;
/** A thing has a new size when it is so many times larger or smaller. */
const RESIZED_BY = 1.6;

const LOWEST_HZ = 220;
const HIGHEST_HZ = 880;

export const initialFind = {
  /** What the person typed; "" for nothing. */
  words: "",
  /** The thing in the picture that is followed, as a track's id, or null. */
  trackId: null,
  /** What was told last, { kind: looking | unknown | gone | found }, or null. */
  told: null,
  toldAt: -Infinity,
  /** Since when it is not in sight; null while it is. */
  missingSince: null,
};

/** The state in which `words` are looked for; nothing if they are blank. */
export function findFor(words, at) {
  const trimmed = words.trim();
  return trimmed
    ? { ...initialFind, words: trimmed, told: { kind: "looking" }, toldAt: at }
    : initialFind;
}

/** `find` before anything was found, for a picture that is searched anew. */
export const searchedAnew = (find) => findFor(find.words, -Infinity);

/** The words to search the picture for, or "" for all things. */
export const wordsToFind = ({ words, told }) => (told?.kind === "unknown" ? "" : words);

/** `find` after the server has said that it does not know the words. */
export const unknownThing = (find, at) => ({
  ...searchedAnew(find),
  told: { kind: "unknown" },
  toldAt: at,
});

/** `find` with what is to be told at `at`, if `tracks` are the things that may be meant. */
export function toldOf(find, tracks, at) {
  if (!wordsToFind(find)) return find;
  const seen = tracks.filter(({ misses }) => misses === 0);
  if (seen.length === 0) return withoutThing(find, at);
  const surest = seen.reduce((one, other) => (other.score > one.score ? other : one));
  const thing = seen.find(({ id }) => id === find.trackId) ?? surest;
  const next = { ...find, trackId: thing.id, missingSince: null };
  const told = {
    kind: "found",
    name: thing.name,
    place: thing.place,
    share: areaOf(thing.box),
    many: seen.length > 1,
  };
  const isNew = find.told?.kind !== "found";
  const isDue = at - find.toldAt >= TELL_EVERY_MS && hasMoved(find.told, told);
  return isNew || isDue ? { ...next, told, toldAt: at } : next;
}

function withoutThing(find, at) {
  const missingSince = find.missingSince ?? at;
  const isGone = at - missingSince >= GONE_AFTER_MS && find.told?.kind !== "gone";
  const told = isGone ? { told: { kind: "gone" }, toldAt: at, trackId: null } : {};
  return { ...find, missingSince, ...told };
}

function hasMoved(before, after) {
  const grown = after.share / before.share;
  return (
    before.name !== after.name ||
    before.many !== after.many ||
    before.place.column !== after.place.column ||
    before.place.row !== after.place.row ||
    grown >= RESIZED_BY ||
    grown <= 1 / RESIZED_BY
  );
}

/** The thing that was asked for, if it is in sight, else null. */
export function foundThing({ boxes, find }) {
  return wordsToFind(find) ? (boxes.tracks.find(({ id }) => id === find.trackId) ?? null) : null;
}

/** The pitch of the tone, or null for silence. It rises as the thing comes to the middle. */
export function toneHz(state) {
  const thing = state.settings.findTone ? foundThing(state) : null;
  if (!thing || thing.misses > 0) return null;
  return LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** nearnessOf(thing.box);
}
