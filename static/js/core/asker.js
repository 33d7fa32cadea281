// Takes stills and asks the questions about them, as the plan says.

import { plan } from "./plan.js";
import { cutFor, dueTurn, historyOf } from "./thread.js";

/**
 * Returns { update(state), destroy() }. `stills` takes and cuts pictures, as io/stills.js; `server` has
 * the functions of io/api.js. Results go to `dispatch(event)`.
 */
export function createAsker({ server, stills, dispatch, now }) {
  let state = null;
  let taking = { id: null, controller: null };
  let asking = { id: null, controller: null };
  let timer;

  async function take(id) {
    const controller = new AbortController();
    taking = { id, controller };
    let event;
    try {
      event = { type: "still-taken", ...(await stills.take(controller.signal)) };
    } catch (error) {
      const kind = error.name === "FalsifiedError" ? "falsified" : "no_frame";
      const message = "The browser could not read a picture from the video.";
      event = { type: "still-failed", kind, message };
    }
    if (!controller.signal.aborted) dispatch({ id, ...event });
  }

  async function ask() {
    dispatch({ type: "ask-started" });
    const { id } = state.asking;
    const { stillId, turn } = dueTurn(state);
    const stillById = (wanted) => state.stills.find((one) => one.id === wanted);
    const { thread } = stillById(stillId);
    const controller = new AbortController();
    asking = { id, controller };
    const { signal } = controller;
    const report = (event) => {
      if (!signal.aborted) dispatch({ id, ...event });
    };
    const beganAt = now();
    const about = stillById(turn.about);
    if (!about) {
      report({ type: "ask-failed", kind: "gone", message: "" });
      return;
    }
    try {
      const blob = await stills.cut(about, cutFor(state, turn));
      if (signal.aborted) return;
      const { prompt, reading, detail, maxTokens, claims } = turn;
      const {
        text,
        finish_reason: end,
        stats,
        sure,
      } = await server.fetchCaption({
        ...{ blob, prompt, reading, detail, maxTokens, claims, camera: null, kind: "question" },
        turns: historyOf(thread, turn),
        source: about.source,
        onText: (soFar) => report({ type: "ask-text", text: soFar }),
        signal,
      });
      // The answer is complete: an abort would only make the browser report it as cut off.
      asking.controller = null;
      report({ type: "ask-done", text, end, stats, sure, seconds: (now() - beganAt) / 1000 });
    } catch (error) {
      const { kind = "no_frame", message, retryAfterS } = error;
      report({ type: "ask-failed", kind, message, retryAfterS });
    }
  }

  function update(next) {
    state = next;
    const { stillId, askId, askAt } = plan(state);
    if (taking.id !== stillId) {
      taking.controller?.abort();
      taking = { id: null, controller: null };
      if (stillId !== null) take(stillId);
    }
    if (asking.id !== askId) {
      asking.controller?.abort();
      asking = { id: null, controller: null };
    }
    clearTimeout(timer);
    if (askAt !== null) timer = setTimeout(ask, Math.max(0, askAt - now()));
  }

  return {
    update,
    destroy() {
      clearTimeout(timer);
      taking.controller?.abort();
      asking.controller?.abort();
    },
  };
}
