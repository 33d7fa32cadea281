// Asks how likely the pinned labels are of the live picture, as the plan says.

import { fitFrame } from "./frame-size.js";
import { plan } from "./plan.js";

/**
 * Returns { update(state), destroy() }. `frames` captures, as io/frames.js; `server` has `fetchLabels` of io/api.js.
 * Results go to `dispatch(event)`.
 */
export function createGauger({ server, frames, dispatch, now }) {
  let state = null;
  let asking = { id: null, controller: null };
  let timer;

  async function ask() {
    dispatch({ type: "gauges-asked" });
    const { id } = state.gauges;
    const controller = new AbortController();
    asking = { id, controller };
    const { signal } = controller;
    const { pinned: labels, pinnedMode: mode, jpegQuality: quality } = state.settings;
    let event;
    try {
      const size = { maxSidePx: fitFrame(state), quality, reference: null };
      const { blob } = await frames.capture({ ...size, signal });
      if (signal.aborted) return;
      const answer = await server.fetchLabels({ blob, labels, mode, detail: "low", signal });
      event = { type: "gauges-done", answer };
    } catch ({ kind = "no_frame", message }) {
      event = { type: "gauges-failed", kind, message };
    }
    if (!signal.aborted) dispatch({ id, ...event });
  }

  return {
    update(next) {
      state = next;
      const { gaugeId, gaugeAt } = plan(state);
      if (asking.id !== null && asking.id !== gaugeId) {
        asking.controller.abort();
        asking = { id: null, controller: null };
      }
      clearTimeout(timer);
      if (gaugeAt !== null) timer = setTimeout(ask, Math.max(0, gaugeAt - now()));
    },
    destroy() {
      clearTimeout(timer);
      asking.controller?.abort();
    },
  };
}
