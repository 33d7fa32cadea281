// Asks how likely the labels of a still are, as the plan says.

import { plan } from "./plan.js";
import { cutFor } from "./thread.js";

/**
 * Returns { update(state), destroy() }. `stills` cuts pictures, as io/stills.js; `server` has `fetchLabels` of
 * io/api.js. Results go to `dispatch(event)`.
 */
export function createLabeller({ server, stills, dispatch, now }) {
  let asking = { id: null, controller: null };

  async function ask(state, { id, controller }) {
    const { signal } = controller;
    const still = state.stills.find((one) => one.id === state.labelling.stillId);
    const beganAt = now();
    let event;
    try {
      // The bytes of a question about the same picture: the server has encoded it already.
      const blob = await stills.cut(still, cutFor(state, still));
      const { text, mode, withPair } = still.labels;
      const asked = { blob, labels: text, mode, withPair, detail: still.detail, signal };
      const answer = signal.aborted ? null : await server.fetchLabels(asked);
      event = { type: "labels-done", answer, seconds: (now() - beganAt) / 1000 };
    } catch ({ kind = "no_frame", message }) {
      event = { type: "labels-failed", kind, message };
    }
    if (!signal.aborted) dispatch({ id, ...event });
  }

  return {
    update(state) {
      const { labelsId } = plan(state);
      if (asking.id === labelsId) return;
      asking.controller?.abort();
      asking = { id: labelsId, controller: new AbortController() };
      if (labelsId !== null) ask(state, asking);
    },
    destroy() {
      asking.controller?.abort();
    },
  };
}
