// Whether a picture of the camera can be believed. Nearly every camera starts dark or burnt until its
// exposure settles, and some throw in a black, green or torn frame. So a change counts once a second
// look agrees, and a caption only if the next look does not refute its picture. Pure; times are
// milliseconds.

import { changedShare, hasChanged, unsteadyShare } from "./difference.js";

/** Between two looks; a camera's worst frames last a little longer. */
export const LOOK_GAP_MS = 110;
// After a change of more than a quarter of the picture the next look waits longer.
const WIDE_CHANGE_SHARE = 0.25;
const WIDE_LOOK_GAP_MS = 240;

// After it was opened, a camera is believed at the latest after this.
const OPENING_MS = 1_500;
// If a look of it has differed from the one before, only once it has been steady for this long.
const STEADY_MS = 400;
// A pale picture only once it has been steady for this long: an exposure that settles in steps clips
// most of the picture for 0.4 s, and a camera's first frame can be held for some time.
const PALE_STEADY_MS = 700;
// In this time a caption is refuted also if the next look differs without a way back to an old picture.
const SETTLING_MS = 3_000;
// Later, the longest that a change of light or a picture of one colour is waited for.
const CHANGING_MS = 1_000;
// Black for this long is no glitch.
const BLACK_MS = 1_500;
// Flickering light refutes every look, so captions go on after this many.
const MOST_REFUTED = 3;

// Two looks agree if few cells differ by more than a camera's noise.
const STEADY_LEVELS = 6;
const UNSTEADY_SHARE = 0.05;
// Light changes most of the picture in one direction, motion does not.
const LIGHT_LEVELS = 4;
const LIGHT_SHARE = 0.6;

const BLACK_LEVEL = 24;
const DARK_LEVEL = 56;
const ONE_COLOUR_LEVELS = 10;
// Noise spreads the cells of a frame by some 25 levels.
const LOW_CONTRAST_LEVELS = 30;
const CLIPPED_LEVEL = 250;
const CLIPPED_SHARE = 0.7;

/** What is known of a camera's pictures. */
export const initialWatch = () => ({
  /** When the first picture came since it was opened or has come back; null before. */
  openedAt: null,
  /** The thumbnail of the last captioned picture, or null. */
  trusted: null,
  /** Whether looks have differed since the camera was opened. */
  wasUnsteady: false,
  /**
   * The looks since the last believed picture: { first, last, since, firstSteady, steadySince,
   * blackSince }, or null. `since` is when the picture was first seen to differ, `firstSteady` the
   * first look that the later ones agree with.
   */
  change: null,
  /** The picture that was sent and not yet confirmed: { thumbnail, first, at, isWide }, or null. */
  sent: null,
  /** Pictures refuted in a row. */
  refuted: 0,
});

/** The camera was muted or had stopped, and sends pictures again. */
export const watchAgain = ({ trusted }) => ({ ...initialWatch(), trusted });

/**
 * Looks at `thumbnail` at `at`. Returns { watch, verdict }, the verdict being
 *
 * - "same": as the picture that was captioned last
 * - "new": another one, to be sent, and to be confirmed by the next look
 * - "again": look again after LOOK_GAP_MS
 * - "black": nothing to see
 */
export function look(watch, thumbnail, at) {
  const openedAt = watch.openedAt ?? at;
  return lookOfOpen({ ...watch, openedAt }, thumbnail, at);
}

function lookOfOpen(watch, thumbnail, at) {
  const { trusted } = watch;
  if (trusted && !hasChanged(trusted, thumbnail)) {
    return { watch: { ...watch, change: null }, verdict: "same" };
  }
  const change = followed(watch.change, thumbnail, at);
  const isFirst = watch.change === null;
  const isUnsteady = !isFirst && change.steadySince === at;
  const next = { ...watch, change, wasUnsteady: watch.wasUnsteady || isUnsteady };
  if (change.blackSince !== null) {
    return { watch: next, verdict: at - change.blackSince >= BLACK_MS ? "black" : "again" };
  }
  if (isFirst || !isBelievable(next, watch.change.last, thumbnail, at)) {
    return { watch: next, verdict: "again" };
  }
  return { watch: withSent(next, thumbnail, at), verdict: "new" };
}

function followed(change, thumbnail, at) {
  const isBlack = brightest(thumbnail) <= BLACK_LEVEL;
  if (!change) {
    const steady = { firstSteady: thumbnail, steadySince: at };
    return { last: thumbnail, since: at, ...steady, blackSince: isBlack ? at : null };
  }
  const agrees = areSteady(change.firstSteady, thumbnail);
  return {
    last: thumbnail,
    since: change.since,
    firstSteady: agrees ? change.firstSteady : thumbnail,
    steadySince: agrees ? change.steadySince : at,
    blackSince: isBlack ? (change.blackSince ?? at) : null,
  };
}

/** Whether a picture that differs from the captioned one can be sent; `before` is the look before. */
function isBelievable(watch, before, thumbnail, at) {
  const { change, trusted, openedAt, wasUnsteady } = watch;
  const isOpening = at - openedAt < OPENING_MS;
  const waitsUntil = Math.max(openedAt + OPENING_MS, trusted ? change.since + CHANGING_MS : 0);
  if (isDoubtful(thumbnail) && !(trusted && isDoubtful(trusted))) return at >= waitsUntil;
  if (isOpening) {
    const neededMs = wasUnsteady ? STEADY_MS : LOOK_GAP_MS / 2;
    return at - change.steadySince >= (isPale(thumbnail) ? PALE_STEADY_MS : neededMs);
  }
  const isSteady = change.steadySince < at;
  return isSteady || !isLightChange(before, thumbnail) || at - change.since >= CHANGING_MS;
}

function withSent(watch, thumbnail, at) {
  const { change, trusted } = watch;
  const isWide = trusted !== null && changedShare(trusted, thumbnail) >= WIDE_CHANGE_SHARE;
  const first = change.steadySince < at ? change.firstSteady : thumbnail;
  return { ...watch, change: null, sent: { thumbnail, first, at, isWide } };
}

/** How long after the sent picture the next look tells whether it can be believed. */
export const confirmDelayMs = ({ sent }) => (sent.isWide ? WIDE_LOOK_GAP_MS : LOOK_GAP_MS);

/** The look after a sent picture. Returns { watch, isRefuted }. */
export function confirm(watch, thumbnail, at) {
  if (watch.refuted >= MOST_REFUTED || !refutes(watch, thumbnail, at)) {
    return { watch: { ...watch, refuted: 0 }, isRefuted: false };
  }
  const next = { ...watch, sent: null, wasUnsteady: true, refuted: watch.refuted + 1 };
  return { watch: next, isRefuted: true };
}

/** The picture `thumbnail` was captioned. */
export const believed = (watch, thumbnail) => ({ ...watch, trusted: thumbnail, sent: null });

function refutes({ sent, trusted, openedAt }, thumbnail, at) {
  if (areSteady(sent.first, thumbnail)) return false;
  // A glitch: the old picture is back, or a picture of one colour has ended.
  if (trusted && !hasChanged(trusted, thumbnail) && hasChanged(sent.thumbnail, thumbnail))
    return true;
  if (isDoubtful(sent.thumbnail) !== isDoubtful(thumbnail)) return true;
  if (isLightChange(sent.thumbnail, thumbnail)) return true;
  // Before a first picture is believed, one that does not stay is not.
  return trusted === null && at - openedAt < SETTLING_MS && sent.at - openedAt < OPENING_MS;
}

const areSteady = (one, other) => unsteadyShare(one, other, STEADY_LEVELS) < UNSTEADY_SHARE;

/** Whether a picture is what broken or starting cameras send: dark, or of one colour. */
function isDoubtful(thumbnail) {
  return brightest(thumbnail) <= DARK_LEVEL || spread(thumbnail) <= ONE_COLOUR_LEVELS;
}

function brightest(thumbnail) {
  let most = 0;
  for (const level of thumbnail) most = Math.max(most, level);
  return most;
}

/** Whether a picture has little contrast, or most of it is clipped to white. */
function isPale(thumbnail) {
  if (spread(thumbnail) <= LOW_CONTRAST_LEVELS) return true;
  let clipped = 0;
  for (let at = 0; at < thumbnail.length; at += 3) {
    if (Math.min(thumbnail[at], thumbnail[at + 1], thumbnail[at + 2]) >= CLIPPED_LEVEL)
      clipped += 1;
  }
  return clipped >= (CLIPPED_SHARE * thumbnail.length) / 3;
}

/** The largest difference within a channel, in levels. */
function spread(thumbnail) {
  const [least, most] = [
    [255, 255, 255],
    [0, 0, 0],
  ];
  thumbnail.forEach((level, at) => {
    least[at % 3] = Math.min(least[at % 3], level);
    most[at % 3] = Math.max(most[at % 3], level);
  });
  return Math.max(...most.map((level, channel) => level - least[channel]));
}

/** Whether most of the picture became lighter, or most of it darker. */
function isLightChange(before, after) {
  let [lighter, darker] = [0, 0];
  for (let at = 0; at < after.length; at += 1) {
    if (after[at] - before[at] > LIGHT_LEVELS) lighter += 1;
    if (before[at] - after[at] > LIGHT_LEVELS) darker += 1;
  }
  return Math.max(lighter, darker) >= LIGHT_SHARE * after.length;
}
