// The texts about models: the list in the settings, and the change in progress. Pure, as page.js.

import { changeOf, mayChangeModels, titleOf } from "../core/server.js";

/** How long the ending of a change stays on the screen. */
const ENDING_MS = 8_000;

const PROBLEM_TITLES = {
  fetch_failed: (title) => `${title}: download failed`,
  disk_full: (title) => `Not enough disk space for ${title}`,
  model_too_large: (title) => `${title} is too large for this machine`,
  device_not_used: () => "The graphics card is not used",
};

// -- amounts --

/** Bytes in decimal units, as disk makers count: "9.4 MB", "513 MB", "4.5 GB". */
export function formatBytes(bytes) {
  const unit = unitOf(bytes);
  return `${amountIn(unit, bytes)} ${unit.name}`;
}

/** "120 of 513 MB", both in the unit of `whole`. */
export function formatShare(part, whole) {
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

/** "48 s", "3 min", "1 h 5 min"; rounded up. */
export function formatDuration(seconds) {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** "120 of 513 MB, 8.2 MB/s, 48 s left", without the parts that are unknown. */
export function formatDownload({ received_bytes, total_bytes, bytes_per_s, left_s }) {
  if (!total_bytes) return "Checking the size";
  const parts = [formatShare(received_bytes, total_bytes)];
  if (bytes_per_s > 0) parts.push(`${formatBytes(bytes_per_s)}/s`);
  if (left_s !== null) parts.push(`${formatDuration(left_s)} left`);
  return parts.join(", ");
}

// -- the change in progress, and its ending --

/**
 * The card of a change of models, or null.
 *
 * { id, tone: "wait" | "good" | "problem", title, text, bar, actions }: `bar` is null or { value, max },
 * with `max` 0 if the end is unknown; each action is { type, model, label, disabled }, `type` that of
 * an event, `disabled` once it has been pressed.
 */
export function changeCardOf(state, at) {
  if (!state.server.status?.models || state.server.phase === "gone") return null;
  const problem = mayChangeModels(state) ? problemCard(state) : null;
  return progressCard(state) ?? refusalCard(state) ?? problem ?? endingCard(state, at);
}

function progressCard(state) {
  const change = changeOf(state);
  if (!change) return null;
  const { request, refusal } = state.models;
  const isDownload = change.step === "fetching";
  const cancelling = change.cancelling || request?.action === "cancel";
  return {
    id: change.step,
    tone: "wait",
    title: `${isDownload ? "Downloading" : "Loading"} ${change.title}`,
    text: [changeText(change), refusal?.message].filter(Boolean).join(". "),
    bar: isDownload
      ? { value: Math.min(change.received_bytes, change.total_bytes), max: change.total_bytes }
      : { value: 0, max: 0 },
    actions: mayChangeModels(state) ? [cancelAction(cancelling)] : [],
  };
}

function cancelAction(cancelling) {
  const label = cancelling ? "Cancelling" : "Cancel";
  return { type: "change-cancelled", label, disabled: cancelling };
}

function changeText(change) {
  const amount = change.step === "fetching" && formatDownload(change);
  return [amount, change.detail].filter(Boolean).join(". ");
}

function refusalCard(state) {
  const { refusal } = state.models;
  if (!refusal) return null;
  return {
    id: "refused",
    tone: "problem",
    title: `${refusal.title}: not possible now`,
    text: refusal.message,
    bar: null,
    actions: [{ type: "problem-dismissed", label: "Dismiss", disabled: false }],
  };
}

function problemCard(state) {
  const problem = state.server.status?.models?.problem;
  if (!problem) return null;
  const titleFor = PROBLEM_TITLES[problem.code] ?? ((title) => `${title}: loading failed`);
  const { request } = state.models;
  return {
    id: "problem",
    tone: "problem",
    title: titleFor(problem.title),
    text: [problem.message, continuation(state)].filter(Boolean).join(" "),
    bar: null,
    actions: [
      {
        type: "model-chosen",
        model: problem.model,
        label: "Try again",
        disabled: request?.action === "switch",
      },
      { type: "problem-dismissed", label: "Dismiss", disabled: request?.action === "dismiss" },
    ],
  };
}

function endingCard({ models: { ending } }, at) {
  if (!ending || at - ending.at >= ENDING_MS) return null;
  const swapped = ending.how === "swapped";
  return {
    id: ending.how,
    tone: swapped ? "good" : "wait",
    title: swapped ? `${ending.title} is captioning now.` : `${ending.title} was cancelled.`,
    text: swapped ? "" : "What is already downloaded is kept.",
    bar: null,
    actions: [],
  };
}

function continuation(state) {
  const { phase, status } = state.server;
  return phase === "ready" ? `Captions continue with ${titleOf(state, status.model)}.` : "";
}

/** A title, with a full stop unless it ends with another sign. */
export const asSentence = (title) => (/[.!?…]$/.test(title) ? title : `${title}.`);

/** A change as text for screen readers, which changes at the start, each quarter and the end. */
export function changeAnnouncement(state, at) {
  const card = changeCardOf(state, at);
  if (!card) return "";
  if (card.id === "loading") return `${card.title}.`;
  if (card.id !== "fetching") return `${asSentence(card.title)} ${card.text}`.trim();
  const { value, max } = card.bar;
  const quarter = max > 0 ? Math.min(3, Math.floor((4 * value) / max)) : 0;
  return quarter === 0 ? `${card.title}.` : `${card.title}: ${25 * quarter} % done.`;
}

// -- the list in the settings --

/** The text above the list: how it works, why its buttons are disabled, or what failed. */
export function pickerHint(state) {
  if (!mayChangeModels(state)) {
    return "Only the machine that runs Sightline can change the model. Start it with --trust-network to allow it here too.";
  }
  const change = changeOf(state);
  if (change) {
    const verb = change.step === "fetching" ? "downloaded" : "loaded";
    return `${change.title} is being ${verb}. Only one model can change at a time: wait for it, or cancel it.`;
  }
  const card = refusalCard(state) ?? problemCard(state);
  if (card) return `${card.title}. ${card.text}`;
  const models = state.server.status?.models;
  if (models?.offline) {
    const count = models.choices.length - installedOf(models, change).length;
    return `The server was started with --offline, so models cannot be downloaded (${count} more).`;
  }
  return "A model is downloaded once and then kept. It takes over automatically; captions continue meanwhile.";
}

/** The models that can run without a download. */
const installedOf = ({ choices }, change) =>
  choices.filter(({ here, running, name }) => here || running || change?.model === name);

/**
 * The list of models, each { name, title, goodFor, facts, status, action }: `status` is running |
 * changing | free | large, `action` null or { type, label, disabled }. Offline it has only those that
 * are installed.
 */
export function modelListOf(state) {
  const models = state.server.status?.models;
  const change = changeOf(state);
  const listed = models?.offline ? installedOf(models, change) : (models?.choices ?? []);
  return listed.map((entry) => {
    const status = statusOf(entry, change);
    return {
      name: entry.name,
      title: entry.title,
      goodFor: entry.good_for,
      facts: status === "changing" ? changeText(change) || "Loading" : factsOf(entry, status),
      status,
      action: mayChangeModels(state) ? actionOf(entry, status, state.models.request, change) : null,
    };
  });
}

function statusOf(entry, change) {
  if (entry.running) return "running";
  if (change?.model === entry.name) return "changing";
  return entry.fits ? "free" : "large";
}

function factsOf({ here, download_bytes, received_bytes, memory_bytes }, status) {
  const need = memory_bytes ? `needs ${formatBytes(memory_bytes)} of memory` : "";
  const size = download_bytes ? `${formatBytes(download_bytes)} download` : "not downloaded yet";
  const partly = received_bytes > 0 && received_bytes < download_bytes;
  const downloaded = partly ? `${formatShare(received_bytes, download_bytes)} downloaded` : size;
  const facts = [here ? "Installed" : downloaded, status === "large" ? "" : need];
  const text = facts.filter(Boolean).join(", ");
  return status === "large" ? `${text}. Too large: it ${need}, more than is free.` : text;
}

function actionOf(entry, status, request, change) {
  if (status === "changing") {
    return cancelAction(change.cancelling || request?.action === "cancel");
  }
  if (status !== "free") return null;
  const label = entry.here ? "Use" : "Download";
  return { type: "model-chosen", label, disabled: Boolean(change ?? request) };
}

/** How nano begins an answer about a frame unlike those that it knows. */
const UNFAMILIAR = /^\s*(An unfamiliar scene|This scene is unfamiliar|\{"scene": "unfamiliar")/;

/** Whether to hint at other models: nano has met a scene that it does not know. Once followed, no more. */
export function hintsAtModels(state, { by, text, finished }) {
  const { status } = state.server;
  const isUnfamiliar = finished && (by === "finder" || UNFAMILIAR.test(text));
  if (!isUnfamiliar || status?.model !== "nano" || !state.settings.modelHint) return false;
  const isOther = ({ name, fits }) => name !== status.model && fits;
  return mayChangeModels(state) && !changeOf(state) && status.models.choices.some(isOther);
}
