// What the caption in view took, in numbers. Pure.

import { captionFields } from "../core/caption-fields.js";
import { historyOf } from "../core/thread.js";
import { titleOf } from "../core/server.js";
import { stillOf } from "../core/view.js";

const MAKERS = { finder: "object finder", reader: "text reader" };

/** The newest finished caption. */
const measured = ({ caption, whole }) => (caption.finished ? caption : whole);

/** [{ name, value }] of the newest finished caption and of the server; what is not known is left out. */
export function numbersOf(state) {
  const { text, stats, by } = measured(state);
  const { status } = state.server;
  return [
    ...(stats ? captionRows(text, stats, by) : [["Caption", "none yet"]]),
    ["Queue", queueText(status?.queue)],
    ["Model", modelText(state)],
  ]
    .filter(([, value]) => value)
    .map(([name, value]) => ({ name, value }));
}

function captionRows(text, stats, by) {
  return [
    ["Made by", MAKERS[by] ?? ""],
    ["First word", secondsText(stats.ttft_s)],
    ["Speed", speedText(text, stats)],
    ["All of it", workText(stats)],
    ["Read", promptText(stats)],
    ["Written", countText(stats.tokens, "token")],
    ["Drafted", draftText(stats)],
    ["Patches", patchesText(stats)],
    ["Kept", keptText(stats.kept)],
    ["Chosen", chosenText(stats.chosen)],
  ];
}

const countText = (count, noun) =>
  Number.isFinite(count) ? `${count} ${noun}${count === 1 ? "" : "s"}` : "";

function secondsText(seconds) {
  if (!Number.isFinite(seconds) || seconds <= 0) return "";
  return seconds < 0.1 ? `${(seconds * 1000).toFixed(0)} ms` : `${seconds.toFixed(2)} s`;
}

function speedText(text, { tokens_per_s: speed, tokens }) {
  if (!(speed > 0) || !(tokens > 0)) return "";
  const words = text.trim().split(/\s+/).filter(Boolean).length;
  const perSecond = (rate) => (rate < 10 ? rate.toFixed(1) : String(Math.round(rate)));
  return `${perSecond((speed * words) / tokens)} words a second (${perSecond(speed)} tokens)`;
}

function workText({ total_s: total, queued_s: queued }) {
  const waited = secondsText(queued);
  const worked = secondsText(total);
  return worked && waited ? `${worked}, after ${waited} in the queue` : worked;
}

function promptText({ prompt_tokens: prompt, image_tokens: image }) {
  if (!(prompt > 0)) return "";
  return `${countText(prompt, "token")}, ${image} of them the picture`;
}

function draftText({ drafted, accepted }) {
  if (!(drafted > 0)) return "";
  return `${countText(drafted, "token")} of the last answer, ${accepted} of them right`;
}

function patchesText({ patches, image_tokens: image }) {
  if (!(image > 0) || !Number.isFinite(patches)) return "";
  return patches > 0 ? `${patches} encoded, the others kept` : "encoded whole, or before";
}

function keptText(kept) {
  if (!kept) return "";
  const { error, checks, agreed } = kept;
  const compared = checks > 0 ? `${agreed} of ${checks} compared captions the same` : "";
  return [`error ${error.toFixed(3)}`, compared].filter(Boolean).join(", ");
}

function chosenText(chosen) {
  if (!chosen) return "";
  const { detail, max_tokens: tokens, interval_s: interval, latency_s: latency, why } = chosen;
  const parts = [
    `detail ${detail}`,
    `at most ${countText(tokens, "token")}`,
    interval > 0 ? `a frame each ${secondsText(interval)}` : "",
    latency > 0 ? `latency ${secondsText(latency)}` : "",
  ];
  return `${parts.filter(Boolean).join(", ")}. ${why ?? ""}`.trim();
}

function queueText(queue) {
  if (!queue) return "";
  return `${queue.waiting} of ${queue.limit} wait, ${queue.busy ? "one is answered" : "none is answered"}`;
}

function modelText(state) {
  const { status } = state.server;
  if (!status?.model) return "";
  const { device, dtype, runtime } = status;
  return [titleOf(state, status.model), runtime, device, dtype].filter(Boolean).join(", ");
}

/** The newest finished caption's request as a curl command, "" before there is one; no key is in it. */
export function curlText(state, address) {
  const sent = sentOf(state);
  if (!sent) return "";
  const fields = captionFields({ ...sent, kind: "question" });
  const texts = Object.entries(fields).map(
    ([name, value]) => `--form-string ${quoted(`${name}=${value}`)}`,
  );
  return ["curl -N -F image=@picture.jpg", ...texts, quoted(address)].join(" \\\n  ");
}

/** In the form of a POSIX shell. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function sentOf(state) {
  const { id, sent } = measured(state);
  const thread = stillOf(state)?.thread ?? [];
  const turn = thread.find((one) => `turn-${one.id}` === id);
  if (!turn) return sent;
  return { ...turn, turns: historyOf(thread, turn) };
}
