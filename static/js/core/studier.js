// Asks what is to be found out about a still, as the plan says.

import { maxTokensOf } from "./length.js";
import { plan } from "./plan.js";
import { cutFor, historyOf } from "./thread.js";

/** What the other answer has in common with that of `turn`, so that only what is compared differs. */
function asAsked(state, { way }, turn) {
  const { maxTokens = maxTokensOf(state), claims = "off", reading = null } = turn ?? {};
  return {
    maxTokens,
    // Another model may be unable to check claims.
    claims: way === "model" ? "off" : claims,
    reading: way === "question" ? null : reading,
  };
}

/**
 * Returns { update(state), destroy() }. `stills` cuts pictures, as io/stills.js; `server` has the functions of
 * io/api.js. Results go to `dispatch(event)`.
 */
export function createStudier({ server, stills, dispatch, now }) {
  let asking = { id: null, controller: null };

  async function ask(state, { id, controller }) {
    const { signal } = controller;
    const report = (event) => {
      if (!signal.aborted) dispatch({ id, ...event });
    };
    const { kind, stillId } = state.studying;
    const stillById = (wanted) => state.stills.find((one) => one.id === wanted);
    const still = stillById(stillId);
    const study = still.studies[kind];
    const about = stillById(study.ask.about ?? stillId);
    if (!about) return report({ type: "study-failed", kind: "gone", message: "" });
    const beganAt = now();
    try {
      // The bytes of a question about the same picture: the server has encoded it already.
      const isHere = about === still;
      const { detail } = study;
      const blob = await stills.cut(
        about,
        cutFor(state, { part: isHere ? study.part : null, detail }),
      );
      if (signal.aborted) return undefined;
      const turn = still.thread.find((one) => one.id === study.turnId);
      const asked = { ...study.ask, blob, detail, signal };
      const answer = await {
        patches: () => server.fetchPatches(asked),
        where: () => server.fetchWhere(asked),
        aspects: () => server.fetchAspects(asked),
        other: () =>
          server.fetchCaption({
            ...{ ...asked, ...asAsked(state, study.ask, turn), camera: null, kind: "question" },
            turns: turn && isHere ? historyOf(still.thread, turn) : [],
            onText: (text) => report({ type: "study-text", text }),
          }),
      }[kind]();
      report({ type: "study-done", answer, seconds: (now() - beganAt) / 1000 });
    } catch ({ kind: failure = "no_frame", message }) {
      report({ type: "study-failed", kind: failure, message });
    }
    return undefined;
  }

  return {
    update(state) {
      const { studyId } = plan(state);
      if (asking.id === studyId) return;
      asking.controller?.abort();
      asking = { id: studyId, controller: new AbortController() };
      if (studyId !== null) ask(state, asking);
    },
    destroy() {
      asking.controller?.abort();
    },
  };
}
