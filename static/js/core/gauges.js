// The pinned labels: how likely they are of the live picture, asked now and then. Pure, as state.js.
//
// Captions come first: nothing is asked while a caption is made, unless the gauges have waited long, and never for more
// than a tenth of the time.

import { showsSomething } from "./camera.js";
import { canLabel, labelsOf } from "./labels.js";
import { backoffMs } from "./pace.js";
import { isFrozen } from "./view.js";

export const GAUGES = 3;
const EVERY_MS = 2_000;
/** Older numbers of another scene turn grey. */
const OLD_MS = 3_000;
const REST_FACTOR = 10;
/** After this long the gauges do not wait for a pause between captions any more. */
const PATIENCE_MS = 10_000;

export const initialGauges = {
  gauges: {
    /** Of the request in flight, or null. */
    id: null,
    lastId: 0,
    /** { labels: [{ label, probability }], none, calibrated }, or null. */
    found: null,
    /** The labels and their mode, as one text, that `found` is of. */
    of: "",
    /** When the frame of `found` was asked about, and when the next one may be. */
    at: -Infinity,
    dueAt: -Infinity,
    failures: 0,
    /** Why the last request failed, or "". */
    problem: "",
    /** The model that cannot do this, or null. */
    unable: null,
  },
};

export const isPinned = ({ settings }) => labelsOf(settings.pinned).length > 0;

const keyOf = ({ settings }) => `${settings.pinnedMode}\n${settings.pinned}`;

/** What is shown under the live caption: `found` of the labels that are pinned now, or null. */
export const gaugesOf = (state) => (state.gauges.of === keyOf(state) ? state.gauges.found : null);

/** Whether the gauges are of an older scene than the newest caption, and have been for a while. */
export const areGaugesOld = ({ gauges, pace }, at) =>
  pace.sentAt > gauges.at && at - gauges.at > OLD_MS;

/** Whether the gauges are to be seen, and kept up to date. */
export function showsGauges(state) {
  const isLive = state.started && !isFrozen(state) && showsSomething(state.camera);
  return isPinned(state) && isLive;
}

/** When to ask for the gauges next, or null for not now. */
export function nextGauge(state) {
  const { gauges, server, visible, pace, request } = state;
  const isAble = canLabel(state) && gauges.unable !== server.status?.model;
  const isReady = server.phase === "ready" && visible && gauges.id === null;
  if (!showsGauges(state) || !isAble || !isReady) return null;
  // The scene looks as it did.
  if (gaugesOf(state) && gauges.failures === 0 && pace.sentAt <= gauges.at) return null;
  return request === null ? gauges.dueAt : gauges.dueAt + PATIENCE_MS;
}

/** The gauges in flight go on only while they are seen. */
export const gaugeToRun = (state) => (showsGauges(state) && state.visible ? state.gauges.id : null);

export const gaugesHandlers = {
  /** "Pin to live" was pressed: the labels of the settings. */
  "labels-pinned"(state, { at }) {
    const { labels: pinned, labelMode: pinnedMode } = state.settings;
    const settings = { ...state.settings, pinned, pinnedMode };
    const gauges = { ...state.gauges, id: null, dueAt: at, failures: 0, problem: "", unable: null };
    return { ...state, settings, gauges };
  },

  "labels-unpinned"(state) {
    const gauges = { ...state.gauges, id: null, found: null };
    return { ...state, settings: { ...state.settings, pinned: "" }, gauges };
  },

  "gauges-asked"(state, { at }) {
    const id = state.gauges.lastId + 1;
    return {
      ...state,
      gauges: { ...state.gauges, id, lastId: id, asked: keyOf(state), askedAt: at },
    };
  },

  /** `answer` is as in fetchLabels of io/api.js. */
  "gauges-done"(state, { id, answer, at }) {
    const { gauges } = state;
    if (gauges.id !== id) return state;
    const { labels, none, calibrated } = answer;
    const restMs = Math.max(EVERY_MS, (at - gauges.askedAt) * REST_FACTOR);
    const found = { labels, none, calibrated };
    const fields = { id: null, found, of: gauges.asked, at: gauges.askedAt, dueAt: at + restMs };
    return { ...state, gauges: { ...gauges, ...fields, failures: 0, problem: "" } };
  },

  "gauges-failed"(state, { id, kind, message, at, random }) {
    const { gauges } = state;
    if (gauges.id !== id) return state;
    const unable = kind === "not_supported" ? (state.server.status?.model ?? null) : gauges.unable;
    const dueAt = at + EVERY_MS + backoffMs(gauges.failures, random);
    const fields = {
      id: null,
      dueAt,
      failures: gauges.failures + 1,
      problem: message ?? "",
      unable,
    };
    return { ...state, gauges: { ...gauges, ...fields } };
  },
};

/** `state` without gauges in flight if they are not to be seen now. */
export function withoutOldGauges(state) {
  if (state.gauges.id === null || gaugeToRun(state) !== null) return state;
  return { ...state, gauges: { ...state.gauges, id: null } };
}

/** The likeliest of them: [{ label, probability, isNone }]. */
export function likeliestOf({ labels, none }) {
  const all = labels.map((one) => ({ ...one, isNone: false }));
  if (none !== null) all.push({ label: "", probability: none, isNone: true });
  return all.sort((one, other) => other.probability - one.probability).slice(0, GAUGES);
}
