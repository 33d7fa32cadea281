// Holds the state, adds the time to each event, and notifies the subscribers of each new state.

import { reduce } from "./state.js";

/**
 * `now()` returns monotonic milliseconds. Subscribers are called with (state, at). An event that is
 * dispatched by a subscriber is queued until all subscribers have seen the current state.
 */
export function createStore(initial, now) {
  const subscribers = [];
  const queue = [];
  let state = initial;
  let dispatching = false;

  function notify() {
    for (const subscriber of subscribers) subscriber(state, now());
  }

  function dispatch(event) {
    queue.push({ at: now(), random: Math.random(), clock: Date.now(), ...event });
    if (dispatching) return;
    dispatching = true;
    try {
      while (queue.length > 0) {
        const before = state;
        state = reduce(state, queue.shift());
        if (state !== before) notify();
      }
    } finally {
      dispatching = false;
    }
  }

  return {
    dispatch,
    notify,
    subscribe: (subscriber) => subscribers.push(subscriber),
    get state() {
      return state;
    },
  };
}
