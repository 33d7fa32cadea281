// Studies of a still: patches, places, aspects, a second answer. Pure, as state.js.
//
// A still's `studies` has the last one of each kind, or null: { step, ask, part, detail, turnId, found, seconds, error }. step:
// asked | done | failed. `part` is the region of the still that it is about, or null. `ask` and `found` by kind:
// - patches: { x, y }, a place in 0..1 of that region; { grid, map, size, tiles, tokens } as in fetchPatches of io/api.js
// - where: { phrase }; { boxes, known }; `known` is false for a word that the model was not taught
// - aspects: {}; { aspects, calibrated, model }
// - other: { way, prompt, detail, about, model }, another answer than that of the still's turn `turnId`; `way` is what
//   differs: question | detail | moment | model; { text, by, cut, sure, model }

import { cutOf } from "./length.js";
import { changeOf, mayChangeModels, titleOf, withRequest } from "./server.js";
import { stillOf, withStill } from "./view.js";

export const MAX_PHRASE_CHARS = 80;
export const STUDY_KINDS = ["patches", "where", "aspects", "other"];

export const initialStudies = {
  /** The study in flight: { id, stillId, kind }, or null. */
  studying: null,
  lastStudyId: 0,
  /** The model that is to run again after a study by another one: { model, lent, isAsked }, or null. */
  goesBack: null,
};

/** The last study of a kind about the still in view, or null. */
export const studyOf = (state, kind) => stillOf(state)?.studies[kind] ?? null;

/** The turn that the other answer is compared with: the last one about the still itself. */
export const turnOf = ({ id, thread }) =>
  thread.findLast(({ step, about }) => step === "done" && about === id) ?? null;

/** Why a study of a kind cannot be asked now: none | live | waiting | remote | server. */
export function studyHindrance(state, kind) {
  const still = stillOf(state);
  if (!still) return "live";
  if (kind === "other" && !turnOf(still)) return "waiting";
  if (kind !== "other" && state.server.status?.remote) return "remote";
  return state.server.phase === "ready" ? "none" : "server";
}

/** The models that can answer in place of the one that runs: [{ name, title }]. */
export function otherModels(state) {
  const { status } = state.server;
  if (!mayChangeModels(state) || changeOf(state)) return [];
  return (status?.models?.choices ?? []).filter(({ here, fits, running }) => {
    return here && fits && !running;
  });
}

/** The id of the study that may run now, or null: one by another model waits until that runs. */
export function studyToRun({ studying, stills, server }) {
  if (!studying) return null;
  const study = stills.find(({ id }) => id === studying.stillId)?.studies[studying.kind];
  const model = study?.ask.model ?? null;
  const runs = server.phase === "ready" && server.status.model === model;
  return model === null || runs ? studying.id : null;
}

/** `state` without a study in flight; `fields` are then those of the still's study. */
function ended(state, fields) {
  const { stillId, kind } = state.studying;
  const still = state.stills.find(({ id }) => id === stillId);
  const next = { ...state, studying: null };
  return still ? withStudy(next, still, kind, { ...still.studies[kind], ...fields }) : next;
}

const withStudy = (state, still, kind, study) =>
  withStill(state, { ...still, studies: { ...still.studies, [kind]: study } });

const failed = (kind, message = "") => ({ step: "failed", error: { kind, message } });

/** `state` with the model that was lent for a study on its way, if there is one. */
function withLent(state, model) {
  const before = state.goesBack?.model ?? state.server.status.model;
  const goesBack = { model: before, lent: model, isAsked: false };
  return withRequest({ ...state, goesBack }, "switch", model);
}

export const studyHandlers = {
  "study-asked"(before, { kind, ask }) {
    if (studyHindrance(before, kind) !== "none") return before;
    const model = ask.model ?? null;
    if (model !== null && !otherModels(before).some(({ name }) => name === model)) return before;
    const state = before.studying ? ended(before, failed("stopped")) : before;
    const still = stillOf(state);
    const last = still.studies[kind];
    const turn = kind === "other" ? turnOf(still) : null;
    const { part, detail = still.detail } = turn ?? still;
    // The patches that were found stay until the next ones are there, so that nothing flickers.
    const stays = kind === "patches" && last?.part === part && last.detail === detail;
    const found = stays ? last.found : null;
    const seconds = last?.seconds ?? null;
    const given = { ask, part, detail: ask.detail ?? detail, found, seconds };
    const study = { step: "asked", error: null, ...given };
    const id = state.lastStudyId + 1;
    const studying = { id, stillId: still.id, kind };
    const next = { ...state, studying, lastStudyId: id };
    const asked = withStudy(next, still, kind, { ...study, turnId: turn?.id ?? null });
    return model === null ? asked : withLent(asked, model);
  },

  /** The beginning of another answer. */
  "study-text"(state, { id, text }) {
    if (state.studying?.id !== id) return state;
    const { studying } = state;
    return { ...ended(state, { found: { text, cut: null, sure: null, model: "" } }), studying };
  },

  /** `answer` is as in fetchPatches, fetchWhere, fetchAspects or fetchCaption of io/api.js. */
  "study-done"(state, { id, answer, seconds }) {
    if (state.studying?.id !== id) return state;
    const { kind } = state.studying;
    const found = kind === "other" ? otherAnswer(state, answer) : answer;
    return ended(state, { step: "done", found, seconds });
  },

  "study-failed"(state, { id, kind, message }) {
    if (state.studying?.id !== id) return state;
    return ended(state, { ...failed(kind, message), found: null });
  },

  "study-stopped"(state) {
    return state.studying ? ended(state, { ...failed("stopped"), found: null }) : state;
  },

  /** What was found of a kind about the still in view is not shown any more. */
  "study-cleared"(before, { kind }) {
    const isAsked =
      before.studying?.kind === kind && before.studying.stillId === before.view.stillId;
    const state = isAsked ? { ...before, studying: null } : before;
    const still = stillOf(state);
    if (!still) return state;
    return withStudy(state, still, kind, null);
  },
};

function otherAnswer(state, { text, finish_reason: end, stats, sure }) {
  const model = titleOf(state, state.server.status?.model);
  const { by = "model" } = stats;
  return { text, by, cut: cutOf(end, stats), sure: sure ?? null, model };
}

/**
 * `state` in which a study that waits for a model has failed if that will not come, and the model that ran before
 * is asked for again once the study has ended. A change that the person makes meanwhile holds.
 */
export function withModelBack(state) {
  const { goesBack, models, server } = state;
  if (goesBack === null || models.request || server.phase === "gone" || !server.status)
    return state;
  const change = changeOf(state);
  const running = server.status.model;
  if (change && ![goesBack.lent, goesBack.model].includes(change.model)) {
    const next = { ...state, goesBack: null };
    return isLending(state) ? ended(next, failed("changed")) : next;
  }
  if (isLending(state)) {
    const isComing = change !== null || running === goesBack.lent;
    if (isComing && server.phase !== "failed") return state;
    const message = models.refusal?.message ?? server.status.models?.problem?.message ?? "";
    return withModelBack(ended(state, failed("model_gone", message)));
  }
  if (running === goesBack.model && !change) return { ...state, goesBack: null };
  if (change?.model === goesBack.model) return { ...state, goesBack: null };
  if (goesBack.isAsked && !change) return { ...state, goesBack: null };
  const next = { ...state, goesBack: { ...goesBack, isAsked: !change } };
  if (change?.cancelling) return state;
  return change
    ? withRequest(next, "cancel", change.model)
    : withRequest(next, "switch", goesBack.model);
}

/** Whether the study in flight is one by a model that was lent for it. */
function isLending({ studying, stills }) {
  if (studying?.kind !== "other") return false;
  const study = stills.find(({ id }) => id === studying.stillId)?.studies.other;
  return (study?.ask.model ?? null) !== null;
}
