// Asks what words of an answer looked at, as the plan says.

import { explainedTurn, explainFields } from "./explained.js";
import { plan } from "./plan.js";
import { cutFor } from "./thread.js";

/**
 * Returns { update(state), destroy() }. `stills` cuts pictures, as io/stills.js; `server` has `fetchCaption` and
 * `fetchHiding` of io/api.js. Results go to `dispatch(event)`.
 */
export function createExplainer({ server, stills, dispatch, now }) {
  let asking = { id: null, controller: null };

  async function ask(state, { id, controller }) {
    const { signal } = controller;
    const still = state.stills.find((one) => one.id === state.explaining.stillId);
    const beganAt = now();
    let event;
    try {
      // The bytes of the question itself: the server has encoded them already.
      const blob = await stills.cut(still, cutFor(state, explainedTurn(still)));
      const { asked } = still.words;
      const fields = explainFields(still);
      const { text, start, end } = asked;
      const send =
        asked.kind === "hiding"
          ? () => server.fetchHiding({ blob, ...fields, text, start, end, signal })
          : () => server.fetchCaption({ blob, ...fields, signal });
      const answer = signal.aborted ? null : await send();
      event = { type: "words-done", answer, seconds: (now() - beganAt) / 1000 };
    } catch ({ kind = "no_frame", message }) {
      event = { type: "words-failed", kind, message };
    }
    if (!signal.aborted) dispatch({ id, ...event });
  }

  return {
    update(state) {
      const { explainId, explainDue } = plan(state);
      if (asking.id !== explainId) {
        asking.controller?.abort();
        asking = { id: explainId, controller: new AbortController() };
        if (explainId !== null) ask(state, asking);
      }
      if (explainDue) dispatch({ type: "words-asked", kind: "looks" });
    },
    destroy() {
      asking.controller?.abort();
    },
  };
}
