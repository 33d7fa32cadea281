// Talks to the server, as io/timeline.js does.

import { captionFields } from "../core/caption-fields.js";
import { readSse } from "./sse.js";

// The server sends at least a comment every second, so a stream without a byte for this long is dead
// even if its socket is open.
export const STREAM_TIMEOUT_MS = 20_000;
const REQUEST_TIMEOUT_MS = 8_000;
// Such as hundreds of labels: they take a large model long, and the answer comes in one piece.
const LONG_TIMEOUT_MS = 120_000;

/** The kind of each error code that is handled specially; all others are "refused". */
const KINDS = {
  busy: "busy",
  loading: "loading",
  model_failed: "model_failed",
  superseded: "superseded",
  not_supported: "not_supported",
  upstream_failed: "upstream",
  upstream_down: "upstream",
  upstream_timeout: "upstream",
  stopping: "unreachable",
};

/**
 * Why a request failed. `kind` is one of
 * - "unreachable": no connection, or the connection broke;
 * - "timeout": connected, but no byte arrived for too long;
 * - "busy", "loading": retry in `retryAfterS` seconds;
 * - "superseded": a newer frame of the same camera replaced this one in the queue;
 * - "model_failed": the model could not be loaded;
 * - "not_supported": the model that runs cannot do this, `message` has the reason;
 * - "upstream": the server that runs the model sent no complete caption, `message` has the reason;
 * - "refused": the server rejected this request, `message` has the reason;
 * - "bad_answer": the response is not one of Sightline's server.
 * `code` is the server's, "" if it is no error of its own.
 */
export class ApiError extends Error {
  constructor(kind, message, retryAfterS = 1, code = "") {
    super(message);
    this.kind = kind;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

/** One of the small models is off or failed. */
const PART_CODES = ["part_off", "part_failed"];

// The page may stand under a path prefix, behind a proxy.
const ROOT = new URL("../../../", import.meta.url);

/** The URL of `path`, which is relative to the page's folder. */
export const addressOf = (path) => new URL(path, ROOT);

/** Resolves to the object of GET /api/status. */
export async function fetchStatus(signal) {
  const timeout = createTimeout(REQUEST_TIMEOUT_MS, signal);
  try {
    const response = await fetch(addressOf("api/status"), {
      cache: "no-store",
      signal: timeout.signal,
    });
    if (!response.ok) throw await errorOfResponse(response);
    const status = await response.json();
    if (!["loading", "ready", "failed"].includes(status?.state)) throw badAnswer();
    return status;
  } catch (error) {
    throw toApiError(error, timeout);
  } finally {
    timeout.clear();
  }
}

/**
 * Posts a model action: "switch" (to `model`), "cancel" (the change in progress) or "dismiss" (the
 * problem). Resolves to the `models` of /api/status after it.
 */
export async function postModels({ action, model, signal }) {
  const timeout = createTimeout(REQUEST_TIMEOUT_MS, signal);
  const request = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(action === "switch" ? { model } : {}),
    cache: "no-store",
    signal: timeout.signal,
  };
  try {
    const response = await fetch(addressOf(`api/models/${action}`), request);
    if (!response.ok) throw await errorOfResponse(response);
    const models = await response.json();
    if (!Array.isArray(models?.choices)) throw badAnswer();
    return models;
  } catch (error) {
    throw toApiError(error, timeout);
  } finally {
    timeout.clear();
  }
}

/**
 * Sends one JPEG and resolves to { boxes, unknown, costMs }: the things in it, [{ name, score, box }]
 * with boxes in 0..1, and how long the server worked. With `words`, only what they may mean is found;
 * `unknown` tells that the server does not know them.
 */
export async function fetchBoxes({ blob, words, signal }) {
  const fields = { ...(words ? { find: words } : {}) };
  const options = { path: "api/boxes", blob, fields, signal, limitMs: REQUEST_TIMEOUT_MS };
  const { boxes, unknown, total_s: totalS } = await postPicture(options);
  if (![boxes, unknown].every(Array.isArray) || !Number.isFinite(totalS)) throw badAnswer();
  return { boxes, unknown: unknown.length > 0 && boxes.length === 0, costMs: totalS * 1000 };
}

/**
 * Sends one JPEG with `labels`, one a line, and their `mode`, "one" or "many", and resolves to { labels, none,
 * calibrated, model, seconds, pair }: labels are [{ label, probability }], the likeliest first. With `withPair` `pair` is
 * what the dual encoder says, { model, labels, seconds, problem }, labels [] with a `problem` if it does not answer; else null.
 */
export async function fetchLabels(options) {
  const { blob, labels, mode, detail, withPair = false, signal } = options;
  const fields = { labels, mode, detail, ...(withPair ? { pair: "1" } : {}) };
  try {
    const answer = await postPicture({ path: "api/labels", blob, fields, signal });
    const { none, calibrated, model, total_s: seconds, pair } = answer;
    if (![answer, ...(pair ? [pair] : [])].every(hasScores)) throw badAnswer();
    const given = pair && { ...pair, seconds: pair.total_s, problem: "" };
    const rest = { none: none ?? null, calibrated: calibrated === true, model, seconds };
    return { labels: answer.labels, pair: given ?? null, ...rest };
  } catch (error) {
    if (!withPair || !PART_CODES.includes(error.code)) throw error;
    const alone = await fetchLabels({ ...options, withPair: false });
    return { ...alone, pair: { model: "", labels: [], seconds: 0, problem: error.message } };
  }
}

const isScore = (one) => typeof one?.label === "string" && Number.isFinite(one.probability);
const hasScores = ({ labels }) => Array.isArray(labels) && labels.every(isScore);

/** Sends one JPEG and resolves to { aspects: [{ id, labels }], calibrated, model }, labels as in fetchLabels. */
export async function fetchAspects({ blob, detail, signal }) {
  const answer = await postPicture({ path: "api/aspects", blob, fields: { detail }, signal });
  const { aspects, calibrated, model } = answer;
  if (!Array.isArray(aspects) || !aspects.every(hasScores)) throw badAnswer();
  return { aspects, calibrated: calibrated === true, model };
}

/**
 * Sends one JPEG and a place in it, 0..1, and resolves to { grid, map, size, tiles, tokens }: the likeness of its patches
 * to the one at that place, and the picture as the model sees it.
 */
export async function fetchPatches({ blob, x, y, detail, signal }) {
  const fields = { x: x.toFixed(5), y: y.toFixed(5), detail };
  const answer = await postPicture({ path: "api/patches", blob, fields, signal });
  const { grid, map, size_px: size, tiles, tokens } = answer;
  if (![grid, map, size].every(Array.isArray) || grid[0] * grid[1] !== map.length)
    throw badAnswer();
  return { grid, map, size, tiles, tokens };
}

/** Sends one JPEG and the name of a thing, and resolves to { boxes: [{ box, score, by }], known }, the surest first. */
export async function fetchWhere({ blob, phrase, detail, signal }) {
  const { boxes, known } = await postPicture({
    path: "api/where",
    blob,
    fields: { phrase, detail },
    signal,
  });
  const isBox = (one) => Array.isArray(one?.box) && Number.isFinite(one.score);
  if (!Array.isArray(boxes) || !boxes.every(isBox)) throw badAnswer();
  return { boxes, known: known !== false };
}

/**
 * Sends one JPEG with an answer about it and the place of a word in that, in characters, and resolves to { before,
 * after, cells, grid }: how likely the word is with and without the cells that it looked at. `prompt`, `turns` and
 * `detail` are those of the answer.
 */
export async function fetchHiding({ blob, prompt, turns, detail, text, start, end, signal }) {
  const fields = { prompt, turns: JSON.stringify(turns), detail, text, start, end };
  const answer = await postPicture({ path: "api/hiding", blob, fields, signal });
  const { before, after, cells, grid } = answer;
  const isWhole = [before, after].every(Number.isFinite) && [cells, grid].every(Array.isArray);
  if (!isWhole) throw badAnswer();
  return { before, after, cells, grid };
}

/** Posts one JPEG with `fields` to a route that answers with one JSON object, and resolves to that. */
async function postPicture({ path, blob, fields, signal, limitMs = LONG_TIMEOUT_MS }) {
  const timeout = createTimeout(limitMs, signal);
  const form = formOf(blob, fields);
  const request = { method: "POST", body: form, cache: "no-store", signal: timeout.signal };
  try {
    const response = await fetch(addressOf(path), request);
    if (!response.ok) throw await errorOfResponse(response);
    return Object(await response.json());
  } catch (error) {
    throw toApiError(error, timeout);
  } finally {
    timeout.clear();
  }
}

function formOf(blob, fields) {
  const form = new FormData();
  form.set("image", blob, "frame.jpg");
  for (const [name, value] of Object.entries(fields)) form.set(name, value);
  return form;
}

/**
 * Sends one JPEG and streams its caption: calls `onText(textSoFar)` for each token and resolves to
 * the `done` event's { text, finish_reason, stats, sure, tokens } with `looks`, null without that event. `kind` is
 * "live" or "question" (a person waits for the answer); `camera` is null for a picture that is no frame of a camera;
 * `source` is where the picture is from, in words;
 * `reading` says who reads text, null to leave it open; `maxTokens` bounds the answer, null for the server's bound.
 * `detail` is "low" or "high"; `turns` are earlier questions about the picture, [{ question, answer }]; `claims` is
 * "off", "mark" or "strict"; `explain` is "1" or "estimate"; the answer goes on from `begin`; `alternatives` is how
 * many others each token comes with. Aborting `signal` makes the server stop generating.
 */
export async function fetchCaption(options) {
  const { blob, signal, onText } = options;
  const timeout = createTimeout(STREAM_TIMEOUT_MS, signal);
  const form = formOf(blob, captionFields(options));
  try {
    const request = { method: "POST", body: form, cache: "no-store", signal: timeout.signal };
    const response = await fetch(addressOf("api/captions"), request);
    if (!response.ok) throw await errorOfResponse(response);
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) throw badAnswer();
    return await readCaption(response.body, onText, timeout.restart);
  } catch (error) {
    throw toApiError(error, timeout);
  } finally {
    timeout.clear();
  }
}

async function readCaption(byteStream, onText, onBytes) {
  let text = "";
  let done = null;
  let looks = null;
  const onEvent = ({ event, data }) => {
    const value = parse(data);
    if (event === "token" && typeof value.text === "string") {
      text += value.text;
      onText?.(text);
    } else if (event === "looks" && Array.isArray(value.words) && Array.isArray(value.grid)) {
      looks = value;
    } else if (event === "done" && typeof value.text === "string" && value.stats) {
      done = value;
    } else if (event === "error") {
      throw errorOf(value.error?.code, value.error?.message) ?? badAnswer();
    } else {
      throw badAnswer();
    }
  };
  await readSse(byteStream, onEvent, onBytes);
  if (!done) throw new ApiError("unreachable", "The connection broke in the middle of a caption.");
  return { ...done, looks };
}

export async function errorOfResponse(response) {
  const body = await response.json().catch(() => null);
  const retryAfterS = Number(response.headers.get("retry-after")) || 1;
  return (
    errorOf(body?.error?.code, body?.error?.message, retryAfterS) ?? badAnswer(response.status)
  );
}

/** The server's error as an ApiError, or undefined if the body is not one. */
export function errorOf(code, message, retryAfterS) {
  if (typeof message !== "string") return undefined;
  const kind = KINDS[code] ?? "refused";
  return new ApiError(kind, message, retryAfterS, code);
}

export function parse(json) {
  try {
    return Object(JSON.parse(json));
  } catch {
    throw badAnswer();
  }
}

export function badAnswer(status) {
  const detail = status ? ` (status ${status})` : "";
  return new ApiError("bad_answer", `The response is not from Sightline's server${detail}.`);
}

/** Any failure as an ApiError, except an abort by the caller, which stays an AbortError. */
export function toApiError(error, timeout) {
  if (timeout.expired()) return new ApiError("timeout", "The server has sent nothing for a while.");
  if (error instanceof ApiError || error.name === "AbortError") return error;
  if (error instanceof SyntaxError) return badAnswer();
  return new ApiError("unreachable", "The server does not answer.");
}

/** An abort signal that fires with `outer`, or after `limitMs` without `restart()`. */
export function createTimeout(limitMs, outer) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  let expired = false;
  let timer;
  const restart = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      expired = true;
      controller.abort();
    }, limitMs);
  };
  if (outer?.aborted) abort();
  outer?.addEventListener("abort", abort, { once: true });
  restart();
  return {
    signal: controller.signal,
    restart,
    expired: () => expired && !outer?.aborted,
    clear() {
      clearTimeout(timer);
      outer?.removeEventListener("abort", abort);
    },
  };
}
