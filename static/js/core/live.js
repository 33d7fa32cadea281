// Back from a still to the live picture. Pure, as state.js.

import { freshPace } from "./pace.js";

/** `state` with the live picture in view, or none if nothing is started. */
export const backToLive = (state, at) => ({
  ...state,
  view: { ...state.view, stillId: null, freezing: null, liveCaption: null },
  caption: state.view.liveCaption ?? state.caption,
  panel: state.panel === "ask" ? null : state.panel,
  pace: freshPace(at),
});
