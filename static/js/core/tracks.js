// Follows things from one answer of the detector to the next. Pure functions.
//
// A track is { id, name, score, box, place, misses }: `box` is smoothed, `place` as `placeOf` returns
// it, `misses` is the number of answers since the thing was last found.

import { overlapOf, placeOf } from "./geometry.js";

/** The most things that are followed; the surest are kept. */
const MOST = 20;
/** A box and a track of one name are one thing if they overlap, or if they are as near as this. */
const SAME_WITHIN = 0.2;
/** A track is dropped when this many answers in a row do not have it. */
const GONE_AFTER = 2;
/** A box that overlaps its track more has hardly moved, and is smoothed. */
const STILL_FROM = 0.8;
/** The part of a new box that is taken for a thing that has hardly moved. */
const STILL_SHARE = 0.35;

/**
 * The tracks after an answer. `boxes` are [{ name, score, box }]; new tracks get ids after `lastId`.
 * Tracks keep their order, so that a list of them does not jump.
 */
export function followed(tracks, boxes, lastId) {
  const surest = [...boxes].sort((one, other) => other.score - one.score).slice(0, MOST);
  const found = matches(tracks, surest);
  const kept = tracks
    .map((track) => (found.has(track.id) ? moved(track, found.get(track.id)) : missed(track)))
    .filter((track) => track.misses < GONE_AFTER);
  const taken = new Set(found.values());
  const added = surest
    .filter((box) => !taken.has(box))
    .map(({ name, score, box }, index) => {
      return { id: lastId + 1 + index, name, score, box, place: placeOf(box), misses: 0 };
    });
  return [...kept, ...added].slice(0, MOST);
}

/** The box of each track that has one, by the track's id; the most alike are taken first. */
function matches(tracks, boxes) {
  const pairs = [];
  for (const track of tracks) {
    for (const box of boxes) {
      const likeness = track.name === box.name ? likenessOf(track.box, box.box) : 0;
      if (likeness > 0) pairs.push({ track, box, likeness });
    }
  }
  pairs.sort((one, other) => other.likeness - one.likeness);
  const found = new Map();
  const taken = new Set();
  for (const { track, box } of pairs) {
    if (found.has(track.id) || taken.has(box)) continue;
    found.set(track.id, box);
    taken.add(box);
  }
  return found;
}

/** 1 to 2 for boxes that overlap, less for boxes that are near, 0 for others. */
function likenessOf(one, other) {
  const overlap = overlapOf(one, other);
  if (overlap > 0) return 1 + overlap;
  const apart = Math.hypot(
    (one[0] + one[2] - other[0] - other[2]) / 2,
    (one[1] + one[3] - other[1] - other[3]) / 2,
  );
  return Math.max(0, 1 - apart / SAME_WITHIN);
}

function moved(track, { score, box }) {
  const share = overlapOf(track.box, box) > STILL_FROM ? STILL_SHARE : 1;
  const next = track.box.map((side, index) => side + (box[index] - side) * share);
  return { ...track, score, box: next, place: placeOf(next, track.place), misses: 0 };
}

/** `track` after its thing has moved by `shift`, [x, y]; undefined is not at all. */
export function shifted(track, shift) {
  if (!shift || (shift[0] === 0 && shift[1] === 0)) return track;
  const box = movedBy(track.box, shift);
  return { ...track, box, place: placeOf(box, track.place) };
}

/** `box` moved by [x, y], and cut at the picture's edges. */
export function movedBy(box, [x, y]) {
  return box.map((side, index) => Math.min(1, Math.max(0, side + (index % 2 === 0 ? x : y))));
}

const missed = (track) => ({ ...track, misses: track.misses + 1 });
