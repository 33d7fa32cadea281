// How a video plays, and what a pause or a jump in it means for its captions. Pure, as state.js.
//
// The words on the screen belong to the frame on the screen: a video that is paused, or moved to another
// place, has that frame captioned anew, and what was in flight is dropped.

import { freshPace, restartCapture } from "./pace.js";
import { SPEEDS, isVideo } from "./source.js";
import { withJump } from "./session.js";

const withPlayback = (state, fields) => ({ ...state, playback: { ...state.playback, ...fields } });

const paused = (state, hasEnded, at) =>
  restartCapture(withPlayback(state, { isPaused: true, hasEnded }), at);

const playing = (state, at) => ({
  ...withPlayback(state, { isPaused: false, hasEnded: false }),
  pace: freshPace(at),
});

export const playbackHandlers = {
  "play-pressed"(state, { at }) {
    if (!isVideo(state)) return state;
    return state.playback.isPaused ? playing(state, at) : paused(state, false, at);
  },

  /** The browser has paused the video, most often at its end. */
  "video-paused"(state, { hasEnded, at }) {
    return isVideo(state) && !state.playback.isPaused ? paused(state, hasEnded, at) : state;
  },

  /** The browser plays it on, for example by a key of the keyboard. */
  "video-played"(state, { at }) {
    return isVideo(state) && state.playback.isPaused ? playing(state, at) : state;
  },

  /** Another place of the video is looked up; its frame is not there yet. */
  "video-moving"(state) {
    if (!isVideo(state)) return state;
    return { ...withPlayback(state, { isMoving: true, hasEnded: false }), request: null };
  },

  "video-moved"(state, { at, clock }) {
    if (!isVideo(state) || !state.playback.isMoving) return state;
    const session = withJump(state.session, state.lastRequestId, clock);
    return restartCapture({ ...withPlayback(state, { isMoving: false }), session }, at);
  },

  "speed-chosen"(state, { speed }) {
    return SPEEDS.includes(speed) ? withPlayback(state, { speed }) : state;
  },

  "loop-pressed"(state) {
    return withPlayback(state, { loops: !state.playback.loops });
  },
};
