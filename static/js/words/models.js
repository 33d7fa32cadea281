// What the page says of models: the list to choose from, and the change under way. Pure, as words.js.

import { changeOf, titleOf } from "../core/server.js";

/** How long the end of a change stays on the screen. */
const ENDING_MS = 8_000;
const QUARTERS = ["", "a quarter is here", "half is here", "three quarters are here"];

const PROBLEM_TITLES = {
  fetch_failed: (title) => `${title} was not fetched`,
  disk_full: (title) => `The disk has no room for ${title}`,
  model_too_large: (title) => `${title} is too large for this machine`,
};

// -- amounts --

/** Bytes in decimal units, as disks and providers count: "9.4 MB", "513 MB", "4.5 GB". */
export function byteWords(bytes) {
  const unit = unitOf(bytes);
  return `${amountIn(unit, bytes)} ${unit.name}`;
}

/** "120 of 513 MB": both in the unit of the whole. */
export function shareWords(part, whole) {
  const unit = unitOf(whole);
  return `${amountIn(unit, part)} of ${amountIn(unit, whole)} ${unit.name}`;
}

function unitOf(bytes) {
  if (bytes >= 999.5e6) return { name: "GB", bytes: 1e9, digits: 1 };
  if (bytes >= 9.95e6) return { name: "MB", bytes: 1e6, digits: 0 };
  if (bytes >= 0.1e6) return { name: "MB", bytes: 1e6, digits: 1 };
  return { name: "kB", bytes: 1e3, digits: 0 };
}

const amountIn = (unit, bytes) => (bytes / unit.bytes).toFixed(unit.digits);

/** "48 s", "3 min", "1 h 5 min": rounded up, as waiting time is. */
export function durationWords(seconds) {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** "120 of 513 MB, 8.2 MB/s, 48 s left", as much of it as is known. */
export function fetchWords({ received_bytes, total_bytes, bytes_per_s, left_s }) {
  if (!total_bytes) return "Asking how large it is";
  const parts = [shareWords(received_bytes, total_bytes)];
  if (bytes_per_s > 0) parts.push(`${byteWords(bytes_per_s)}/s`);
  if (left_s !== null) parts.push(`${durationWords(left_s)} left`);
  return parts.join(", ");
}

// -- the change under way, and how it ended --

/**
 * What the card over the picture says, or null.
 *
 * { id, tone: "wait" | "good" | "problem", title, text, bar, actions }: `bar` is null, or { value, max }
 * with `max` 0 while nobody knows how long it takes; each action is { type, model, label, waits },
 * `type` an event's, `waits` while it has been pressed already.
 */
export function changeCardOf(state, at) {
  if (!state.server.status?.models || state.server.phase === "gone") return null;
  return underWay(state) ?? refused(state) ?? failed(state) ?? ended(state, at);
}

function underWay(state) {
  const change = changeOf(state);
  if (!change) return null;
  const { request, refusal } = state.models;
  const isFetched = change.step === "fetching";
  const cancelling = change.cancelling || request?.action === "cancel";
  return {
    id: change.step,
    tone: "wait",
    title: `${isFetched ? "Fetching" : "Loading"} ${change.title}`,
    text: [changeWords(change), refusal?.message].filter(Boolean).join(". "),
    bar: isFetched
      ? { value: Math.min(change.received_bytes, change.total_bytes), max: change.total_bytes }
      : { value: 0, max: 0 },
    actions: [
      {
        type: "change-cancelled",
        label: cancelling ? "Cancelling" : "Cancel",
        waits: cancelling,
      },
    ],
  };
}

function changeWords(change) {
  const amounts = change.step === "fetching" && fetchWords(change);
  return [amounts, change.detail].filter(Boolean).join(". ");
}

function refused(state) {
  const { refusal } = state.models;
  if (!refusal) return null;
  return {
    id: "refused",
    tone: "problem",
    title: `${refusal.title}: not now`,
    text: refusal.message,
    bar: null,
    actions: [{ type: "problem-dismissed", label: "Dismiss", waits: false }],
  };
}

function failed(state) {
  const problem = state.server.status?.models?.problem;
  if (!problem) return null;
  const titled = PROBLEM_TITLES[problem.code] ?? ((title) => `${title} was not loaded`);
  const { request } = state.models;
  return {
    id: "problem",
    tone: "problem",
    title: titled(problem.title),
    text: [problem.message, goesOn(state)].filter(Boolean).join(" "),
    bar: null,
    actions: [
      {
        type: "model-chosen",
        model: problem.model,
        label: "Try again",
        waits: request?.action === "switch",
      },
      { type: "problem-dismissed", label: "Dismiss", waits: request?.action === "dismiss" },
    ],
  };
}

function ended({ models: { ending } }, at) {
  if (!ending || at - ending.at >= ENDING_MS) return null;
  const swapped = ending.how === "swapped";
  return {
    id: ending.how,
    tone: swapped ? "good" : "wait",
    title: swapped ? `${ending.title} is captioning now.` : `${ending.title} was cancelled.`,
    text: swapped ? "" : "What has come of it is kept for the next time.",
    bar: null,
    actions: [],
  };
}

function goesOn(state) {
  const { phase, status } = state.server;
  return phase === "ready" ? `${titleOf(state, status.model)} goes on captioning.` : "";
}

/** What is worth a word to people who do not see the card: its beginning, each quarter, its end. */
export function changeNews(state, at) {
  const card = changeCardOf(state, at);
  if (!card) return "";
  if (card.id === "loading") return `${card.title}.`;
  if (card.id !== "fetching") return `${card.title} ${card.text}`.trim();
  const { value, max } = card.bar;
  const quarter = max > 0 ? Math.min(3, Math.floor((4 * value) / max)) : 0;
  return quarter === 0 ? `${card.title}.` : `${card.title}: ${QUARTERS[quarter]}.`;
}

// -- the list to choose from --

/** What the list says above its models: how choosing works, why it waits, or what went wrong. */
export function pickerHint(state) {
  const change = changeOf(state);
  if (change) {
    const doing = change.step === "fetching" ? "fetched" : "loaded";
    return `${change.title} is being ${doing}. One model changes at a time: wait for it, or cancel it.`;
  }
  const wrong = refused(state) ?? failed(state);
  if (wrong) return `${wrong.title}. ${wrong.text}`;
  if (state.server.status?.models?.offline) {
    return "The server was started with --offline: it fetches no model.";
  }
  return "A model is fetched once and then kept. It takes over by itself; captions go on meanwhile.";
}

/**
 * The models to choose from, each { name, title, goodFor, facts, standing, action }: `standing` is
 * running | changing | free | large | offline, `action` null or { type, label, waits }.
 */
export function choicesOf(state) {
  const models = state.server.status?.models;
  const change = changeOf(state);
  return (models?.choices ?? []).map((choice) => {
    const standing = standingOf(choice, change, models.offline);
    return {
      name: choice.name,
      title: choice.title,
      goodFor: choice.good_for,
      facts: standing === "changing" ? changeWords(change) || "Loading" : factsOf(choice, standing),
      standing,
      action: actionOf(choice, standing, state.models.request, change),
    };
  });
}

function standingOf(choice, change, offline) {
  if (choice.running) return "running";
  if (change?.model === choice.name) return "changing";
  if (!choice.fits) return "large";
  return !choice.here && offline ? "offline" : "free";
}

function factsOf({ here, download_bytes, received_bytes, memory_bytes }, standing) {
  const need = memory_bytes ? `needs ${byteWords(memory_bytes)} of memory` : "";
  const size = download_bytes ? `${byteWords(download_bytes)} to fetch` : "to be fetched";
  const partly = received_bytes > 0 && received_bytes < download_bytes;
  const place = partly ? `${shareWords(received_bytes, download_bytes)} are here` : size;
  const facts = [here ? "Is here" : place, standing === "large" ? "" : need];
  const told = facts.filter(Boolean).join(", ");
  if (standing === "large") return `${told}. Too large: it ${need}, more than is free.`;
  return standing === "offline" ? `${told}. Not to be had offline.` : told;
}

function actionOf(choice, standing, request, change) {
  if (standing === "changing") {
    const cancelling = change.cancelling || request?.action === "cancel";
    const label = cancelling ? "Cancelling" : "Cancel";
    return { type: "change-cancelled", label, waits: cancelling };
  }
  if (standing !== "free") return null;
  const left = choice.download_bytes - choice.received_bytes;
  const fetchLabel = left > 0 ? `Fetch ${byteWords(left)}` : "Fetch";
  const label = choice.here ? "Use" : fetchLabel;
  return { type: "model-chosen", label, waits: Boolean(change ?? request) };
}
