// Holds the state, gives each event its time, and tells those who follow about each new state.

import { reduce } from "./state.js";

/**
 * `now()` is monotonic milliseconds. Followers are called with (state, at); an event that one of them
 * causes waits until all have seen the state before it.
 */
export function createStore(initial, now) {
  const followers = [];
  const waiting = [];
  let state = initial;
  let working = false;

  function tell() {
    for (const follower of followers) follower(state, now());
  }

  function dispatch(event) {
    waiting.push({ at: now(), random: Math.random(), clock: Date.now(), ...event });
    if (working) return;
    working = true;
    try {
      while (waiting.length > 0) {
        const before = state;
        state = reduce(state, waiting.shift());
        if (state !== before) tell();
      }
    } finally {
      working = false;
    }
  }

  return {
    dispatch,
    tell,
    follow: (follower) => followers.push(follower),
    get state() {
      return state;
    },
  };
}
