// The server's timeline: what it keeps, found, deleted and asked about. Times are seconds since 1970. Failures are
// ApiErrors.

import {
  ApiError,
  STREAM_TIMEOUT_MS,
  addressOf,
  badAnswer,
  createTimeout,
  errorOf,
  errorOfResponse,
  parse,
  toApiError,
} from "./api.js";
import { readSse } from "./sse.js";

const ROUTE = "api/timeline";
/** A search in a large timeline beside captions, or a deletion that waits for the disk. */
const TIMEOUT_MS = 20_000;
const PAGE_MOMENTS = 50;

/** The address of a moment's small picture. */
export const pictureAddress = (id) => addressOf(`${ROUTE}/moments/${id}/picture`);

/** The address of all moments of `fields` as a file of `format`. */
export const exportAddress = (format, fields) => withQuery("/export", { ...fields, format });

/** Resolves to { keep, days, mb, available, file, bytes, moments, fault }. */
export const fetchSettings = (signal) => readJson("/settings", { signal });

/** Changes what is kept, any of { keep, days, mb }, and resolves as `fetchSettings`. */
export const postSettings = (changes, signal) => readJson("/settings", { body: changes, signal });

/** Resolves to a page, { moments, gaps, more, before }, of the moments of `fields`. */
export async function fetchMoments(fields, signal) {
  const page = await readJson("", { fields: { ...fields, limit: PAGE_MOMENTS }, signal });
  if (![page.moments, page.gaps].every(Array.isArray)) throw badAnswer();
  return page;
}

/** Resolves to { halfHours, gaps } of a time, of a `camera` or "" for all. */
export async function fetchDay(fields, signal) {
  const { half_hours: halfHours, gaps } = await readJson("/days", { fields, signal });
  if (![halfHours, gaps].every(Array.isArray)) throw badAnswer();
  return { halfHours, gaps };
}

/** Deletes the moment `id`, or all of a time, and resolves to { deletion, moments, undo_s }. */
export const deleteMoments = ({ id, from, to }, signal) =>
  readJson(id === null ? "" : `/moments/${id}`, { fields: { from, to }, method: "DELETE", signal });

export const postUndo = (deletion, signal) => readJson("/undo", { body: { deletion }, signal });

export const postKeep = (id, kept, signal) =>
  readJson(`/moments/${id}/keep`, { body: { kept }, signal });

/** Tells why a camera is not captioned; also while the page is left. */
export function postGap(body) {
  const headers = { "Content-Type": "application/json" };
  const request = { method: "POST", headers, body: JSON.stringify(body), keepalive: true };
  // A gap that is not told is one of unknown reason.
  fetch(addressOf(`${ROUTE}/gaps`), request).catch(() => {});
}

/** Resolves to the small picture of a moment: { picture, width, height }, a JPEG. */
export async function fetchPicture(id, signal) {
  const picture = await sent("", { address: pictureAddress(id), signal }, (answer) =>
    answer.blob(),
  );
  const image = await createImageBitmap(picture).catch(() => null);
  if (image === null) throw badAnswer();
  const { width, height } = image;
  image.close();
  return { picture, width, height };
}

/**
 * Asks a question about what was kept in a time, of a `camera` or all: calls `onFound({ plan, moments })`, then
 * `onText({ text })` with the text so far, and resolves to { text, sentences, seconds }.
 */
export async function askTimeline({ question, from, to, camera, onFound, onText }, signal) {
  let text = "";
  let done = null;
  const onEvent = ({ event, data }) => {
    const value = parse(data);
    if (event === "found" && Array.isArray(value.moments)) {
      onFound({ plan: value.plan, moments: value.moments });
    } else if (event === "token" && typeof value.text === "string") {
      text += value.text;
      onText({ text });
    } else if (event === "done" && Array.isArray(value.sentences)) {
      done = { text: value.text, sentences: value.sentences, seconds: value.total_s };
    } else {
      throw errorOf(value.error?.code, value.error?.message) ?? badAnswer();
    }
  };
  const body = { question, ...said({ from, to, camera }) };
  const options = { body, signal, limitMs: STREAM_TIMEOUT_MS };
  await sent("/ask", options, (answer, onBytes) => readSse(answer.body, onEvent, onBytes));
  if (!done) throw new ApiError("unreachable", "The connection broke in the middle of an answer.");
  return done;
}

/** Those of `fields` that say something. */
const said = (fields) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value || value === 0));

function withQuery(path, fields) {
  const address = addressOf(`${ROUTE}${path}`);
  for (const [name, value] of Object.entries(said(fields))) address.searchParams.set(name, value);
  return address;
}

/** Resolves to the object that the server answers. */
const readJson = (path, options) =>
  sent(path, options, async (answer) => Object(await answer.json()));

/**
 * Sends a request below the route and resolves to what `read(response, onBytes)` makes of the answer. With `body` it is
 * a POST; `method` is another one.
 */
async function sent(path, options, read) {
  const { fields = {}, body, method, signal, limitMs = TIMEOUT_MS } = options;
  const timeout = createTimeout(limitMs, signal);
  const request = { method: method ?? (body ? "POST" : "GET"), cache: "no-store" };
  if (body) {
    request.headers = { "Content-Type": "application/json" };
    request.body = JSON.stringify(body);
  }
  try {
    const address = options.address ?? withQuery(path, fields);
    const response = await fetch(address, { ...request, signal: timeout.signal });
    if (!response.ok) throw await errorOfResponse(response);
    return await read(response, timeout.restart);
  } catch (error) {
    throw toApiError(error, timeout);
  } finally {
    timeout.clear();
  }
}
