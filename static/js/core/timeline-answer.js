// A question over the timeline and its answer, and a kept moment that comes into view. Pure, as state.js.
//
// An answer: { id, question, step: "asked" | "done" | "failed", plan, moments, text, sentences, seconds, error }, `id` that of
// its job; `plan`, `moments` and `sentences` are as in POST /api/timeline/ask; `error` is { kind, message }.

import { languageOf } from "./language.js";
import { titleOf } from "./server.js";
import { withJob } from "./timeline.js";
import { fieldsOf } from "./timeline-query.js";
import { keptTurn } from "./thread.js";
import { withNewStill, withStillInView } from "./view.js";

const BEGUN = {
  ...{ step: "asked", plan: null, moments: [], text: "", sentences: [], seconds: null },
  error: null,
};

/** `state` with other fields in the answer of job `id`; unchanged if another question was asked. */
function withAnswer(state, id, fields) {
  const { answer } = state.timeline;
  if (answer?.id !== id) return state;
  return { ...state, timeline: { ...state.timeline, answer: { ...answer, ...fields } } };
}

export const timelineAnswerHandlers = {
  "timeline-asked"(state, { question, clock }) {
    const { from, to, camera } = fieldsOf({ ...state.timeline.filter, until: null }, clock);
    const next = withJob(state, { what: "ask", question, from, to, camera });
    const answer = { ...BEGUN, id: next.timeline.lastJobId, question };
    return { ...next, timeline: { ...next.timeline, answer } };
  },

  "timeline-answer-begun"(state, { id, plan, moments }) {
    return withAnswer(state, id, { plan, moments });
  },

  "timeline-answer-text"(state, { id, text }) {
    return withAnswer(state, id, { text });
  },

  "timeline-answer-done"(state, { id, text, sentences, seconds }) {
    return withAnswer(state, id, { step: "done", text, sentences, seconds });
  },

  "timeline-answer-failed"(state, { id, kind, message }) {
    return withAnswer(state, id, { step: "failed", error: { kind, message } });
  },

  /** The answer is closed; one that is still coming is given up. */
  "timeline-answer-closed"(state) {
    const jobs = state.timeline.jobs.filter(({ what }) => what !== "ask");
    return { ...state, timeline: { ...state.timeline, jobs, answer: null } };
  },

  /** A moment of the list is chosen: its small picture comes into view, with `panel` if it is not null. */
  "moment-chosen"(state, { moment, panel = null }) {
    const next = { ...state, timeline: { ...state.timeline, chosen: moment.id } };
    if (!moment.picture) return next;
    const still = state.stills.find(({ momentId }) => momentId === moment.id);
    if (still) return withPanel(withStillInView(next, still), panel);
    return withJob(next, { what: "picture", moment, panel });
  },

  /** The small picture of a moment is here: a JPEG with its sides in pixels. */
  "moment-pictured"(state, { moment, panel, picture, width, height }) {
    const id = state.view.lastStillId + 1;
    const { source, from } = moment;
    const fields = { id, picture, width, height, clock: from * 1000, source, mirrors: false };
    const turnId = state.lastTurnId + 1;
    const model = titleOf(state, moment.model);
    const lang = languageOf({ model: moment.model, ...state.settings });
    const turn = keptTurn(moment, { id: turnId, about: id, model, lang });
    const still = { ...fields, momentId: moment.id, thread: [turn] };
    const view = { ...state.view, lastStillId: id };
    const next = withNewStill({ ...state, view, lastTurnId: turnId }, still);
    return withPanel(withStillInView(next, next.stills.at(-1)), panel);
  },
};

const withPanel = (state, panel) => (panel ? { ...state, panel } : state);
