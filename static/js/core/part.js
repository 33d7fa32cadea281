// A question about a part of the picture: asked by a press on a box, answered once, and shown for a
// while before live captions go on. Pure, as state.js.

import { withMargin } from "./geometry.js";
import { freshPace } from "./pace.js";

/** How long an answer stays before the next live caption. */
export const ANSWER_STAYS_MS = 12_000;

/** Failures after which the question is asked again. */
const ASKED_AGAIN = ["busy", "loading", "timeout", "unreachable"];

/** What is asked about a part: the server's first preset, which any model can answer. */
export const partPrompt = ({ server }) => server.status?.presets[0]?.prompt ?? null;

export const partHandlers = {
  /** `name` and `place` are the thing's, `box` its box. */
  "part-asked"(state, { name, place, box, at }) {
    if (state.camera.phase !== "live") return state;
    const part = { name, place, region: withMargin(box), step: "asked" };
    return { ...state, part, request: null, problem: null, pace: freshPace(at) };
  },

  /** Back to live captions. */
  "part-closed"(state, { at }) {
    return state.part
      ? { ...state, part: null, request: null, problem: null, pace: freshPace(at) }
      : state;
  },
};

/** The part that the next frame is about, or null for the whole picture. */
export const askedPart = ({ part }) => (part?.step === "asked" ? part : null);

/** The part after a failure of its request: still asked, or given up. */
export const partAfterFailure = (part, kind) => (part && ASKED_AGAIN.includes(kind) ? part : null);
