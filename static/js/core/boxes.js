// The part of the state about boxes: the things that the detector sees in the live picture, and when to
// look again. Pure, as state.js.
//
// A look sends a frame to the detector, which costs far more than a glance: a small picture by which
// the boxes follow their things between two looks. So while the model works on a caption, looks are
// few, and boxes follow as often as ever.

import { showsSomething } from "./camera.js";
import { findFor, searchedAnew, toldOf, unknownThing, wordsToFind } from "./find.js";
import { backoffMs } from "./pace.js";
import { followed, shifted } from "./tracks.js";
import { isFrozen } from "./view.js";

/** Between two glances: boxes follow at least five times a second. */
const GLANCE_EVERY_MS = 165;
/** Between the starts of two looks. */
const LOOK_EVERY_MS = 180;
/** The same while a caption is made, and at least so many times what a look costs the server. */
const LOOK_BESIDE_CAPTION_MS = 600;
const LOOK_COST_FACTOR = 10;
const LOOK_BESIDE_CAPTION_AT_MOST_MS = 2_000;
/** A scene that looks the same is looked at again after this long. */
const LOOK_ANYWAY_MS = 2_000;
/** Boxes of an older look are not shown. */
const SHOWN_FOR_MS = 4_000;
/** Failures in a row before the page says so. */
const FAILURES_TOLD_FROM = 3;

export const initialBoxes = (at) => ({
  /** The things in the picture, as tracks.js describes them. */
  tracks: [],
  lastId: 0,
  glanceAt: at,
  /** No look before this time, after a failure. */
  waitsUntil: at,
  /** When the last look began, how long the server worked on it, and when its answer came. */
  lookedAt: -Infinity,
  costMs: 0,
  answeredAt: -Infinity,
  /** When the boxes were last seen to hold. */
  seenAt: -Infinity,
  failures: 0,
  /** Why the last look failed. */
  problem: "",
});

/** The detector of the server: { name, knows }, `knows` [] if it finds what words say; or null. */
export function detectorOf({ server: { status } }) {
  const finder = status?.finder;
  return finder?.detector ? { name: finder.detector, knows: finder.classes ?? [] } : null;
}

/** Whether the picture is searched for things now. */
export function looksForThings(state) {
  const { camera, problem, server, settings, started, visible } = state;
  // A browser that falsifies pictures for the captions does so here too.
  const isReadable = problem?.kind !== "falsified";
  const isLive = started && visible && !isFrozen(state) && showsSomething(camera) && isReadable;
  return settings.boxes && isLive && server.phase !== "gone" && detectorOf(state) !== null;
}

/** When to glance at the picture next, or null for not now. */
export const nextGlance = (state) => (looksForThings(state) ? state.boxes.glanceAt : null);

/** When to look next, if the picture is searched. */
export function nextLook({ boxes, request }) {
  const isCaptioning = request !== null && request.step !== "capturing";
  const everyMs = isCaptioning ? besideCaptionMs(boxes.costMs) : LOOK_EVERY_MS;
  return Math.max(boxes.waitsUntil, boxes.lookedAt + everyMs);
}

function besideCaptionMs(costMs) {
  const everyMs = Math.max(LOOK_BESIDE_CAPTION_MS, costMs * LOOK_COST_FACTOR);
  return Math.min(LOOK_BESIDE_CAPTION_AT_MOST_MS, everyMs);
}

/** Whether a frame is sent even if the scene looks as at the last answer. */
export function mustLook({ boxes }, at) {
  return at - boxes.answeredAt >= LOOK_ANYWAY_MS || boxes.tracks.some(({ misses }) => misses > 0);
}

/** The things to show: none if the last look is too old. */
export function shownThings({ boxes }, at) {
  return at - boxes.seenAt > SHOWN_FOR_MS ? [] : boxes.tracks;
}

/** Why looks fail, or "" while they do not. */
export const lookProblem = ({ boxes }) =>
  boxes.failures >= FAILURES_TOLD_FROM ? boxes.problem : "";

/** `state` without boxes if the picture is not searched now. */
export function withoutOldBoxes(state) {
  if (looksForThings(state) || state.boxes.answeredAt === -Infinity) return state;
  return { ...state, boxes: withoutTracks(state.boxes), find: searchedAnew(state.find) };
}

/** No box, and the next look at once. */
const withoutTracks = ({ glanceAt, lastId }) => ({ ...initialBoxes(glanceAt), lastId });

export const boxesHandlers = {
  /** `words` name the thing that the person looks for; "" for nothing. */
  "find-asked"(state, { words, at }) {
    const find = findFor(words, at);
    if (find.words === state.find.words) return state;
    return { ...state, boxes: withoutTracks(state.boxes), find };
  },

  /**
   * `shifts` has how far the thing of each track's id has moved, [x, y]. `isNews`: the scene has
   * changed since the last answer, so the boxes hold only for a while.
   */
  "boxes-followed"(state, { shifts, isNews, at }) {
    const tracks = state.boxes.tracks.map((track) => shifted(track, shifts[track.id]));
    const seenAt = isNews ? state.boxes.seenAt : at;
    return withTracks(state, { tracks, seenAt, glanceAt: at + GLANCE_EVERY_MS }, at);
  },

  "look-started"(state, { at }) {
    return { ...state, boxes: { ...state.boxes, lookedAt: at } };
  },

  /**
   * `boxes` are [{ name, score, box }], those of all things or of what `words` may mean; `unknown`: the
   * server does not know the words. `costMs` is how long it worked.
   */
  "boxes-received"(state, { boxes, words, unknown, costMs, at }) {
    if (words !== wordsToFind(state.find)) return state;
    if (unknown) return { ...state, find: unknownThing(state.find, at) };
    const tracks = followed(state.boxes.tracks, boxes, state.boxes.lastId);
    const lastId = Math.max(state.boxes.lastId, ...tracks.map(({ id }) => id));
    const answer = { costMs, answeredAt: at, seenAt: at, failures: 0, problem: "" };
    return withTracks(state, { tracks, lastId, ...answer }, at);
  },

  "boxes-failed"(state, { message, retryAfterS = 0, at, random }) {
    const { failures } = state.boxes;
    const waitsUntil = at + Math.max(retryAfterS * 1000, backoffMs(failures, random));
    const boxes = { ...state.boxes, waitsUntil, failures: failures + 1, problem: message };
    return { ...state, boxes };
  },
};

function withTracks(state, fields, at) {
  const boxes = { ...state.boxes, ...fields };
  const isAnswered = boxes.answeredAt > -Infinity;
  return { ...state, boxes, find: isAnswered ? toldOf(state.find, boxes.tracks, at) : state.find };
}
