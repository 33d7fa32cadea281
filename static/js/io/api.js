// The one module that talks to the server.

import { readSse } from "./sse.js";

// The server says something at least every second (a comment while it waits), so this long a silence
// means that nobody is there any more, whatever the socket claims.
const SILENCE_LIMIT_MS = 20_000;
const STATUS_LIMIT_MS = 8_000;

/** The server's error codes that ask for more than another try; all others are "refused". */
const KINDS = {
  busy: "busy",
  loading: "loading",
  model_failed: "model_failed",
  superseded: "superseded",
  upstream_failed: "upstream",
  upstream_down: "upstream",
  upstream_timeout: "upstream",
  stopping: "unreachable",
};

/**
 * Why a request gave no answer. `kind` is one of
 * - "unreachable": nothing answers at the address, or the connection broke off;
 * - "silent": it is connected and says nothing;
 * - "busy", "loading": try again in `retryAfterS` seconds;
 * - "superseded": a newer frame of the same camera took this one's place while it waited;
 * - "model_failed": the model could not be loaded;
 * - "upstream": the server that runs the model gave no whole caption, `message` tells why;
 * - "refused": the server said no to this request, `message` tells why;
 * - "bad_answer": what came back is not what this server sends.
 */
export class ApiError extends Error {
  constructor(kind, message, retryAfterS = 1) {
    super(message);
    this.kind = kind;
    this.retryAfterS = retryAfterS;
  }
}

/** Asks for the server's state; resolves to the object of GET /api/status. */
export async function fetchStatus(signal) {
  const patience = createPatience(STATUS_LIMIT_MS, signal);
  try {
    const response = await fetch("/api/status", { cache: "no-store", signal: patience.signal });
    if (!response.ok) throw await refusalOf(response);
    const status = await response.json();
    if (!["loading", "ready", "failed"].includes(status?.state)) throw badAnswer();
    return status;
  } catch (error) {
    throw named(error, patience);
  } finally {
    patience.end();
  }
}

/**
 * Asks for something to be done about models: `action` is "switch" (to `model`), "cancel" (the change
 * under way) or "dismiss" (the problem). Resolves to the `models` of /api/status as they are then.
 */
export async function postModels({ action, model, signal }) {
  const patience = createPatience(STATUS_LIMIT_MS, signal);
  const request = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(action === "switch" ? { model } : {}),
    cache: "no-store",
    signal: patience.signal,
  };
  try {
    const response = await fetch(`/api/models/${action}`, request);
    if (!response.ok) throw await refusalOf(response);
    const models = await response.json();
    if (!Array.isArray(models?.choices)) throw badAnswer();
    return models;
  } catch (error) {
    throw named(error, patience);
  } finally {
    patience.end();
  }
}

/**
 * Sends one JPEG, which is of `kind` "live" or "question" (what a person waits for), and streams its
 * caption back: `onText(textSoFar)` for each piece, and resolves to the `done` event's
 * { text, finish_reason, stats }. Aborting `signal` makes the server stop generating.
 */
export async function fetchCaption({ blob, prompt, camera, kind, signal, onText }) {
  const patience = createPatience(SILENCE_LIMIT_MS, signal);
  const form = new FormData();
  form.set("image", blob, "frame.jpg");
  form.set("prompt", prompt);
  form.set("camera", camera);
  form.set("kind", kind);
  try {
    const request = { method: "POST", body: form, cache: "no-store", signal: patience.signal };
    const response = await fetch("/api/captions", request);
    if (!response.ok) throw await refusalOf(response);
    if (!response.headers.get("content-type")?.startsWith("text/event-stream")) throw badAnswer();
    return await readCaption(response.body, onText, patience.renew);
  } catch (error) {
    throw named(error, patience);
  } finally {
    patience.end();
  }
}

async function readCaption(byteStream, onText, onBytes) {
  let text = "";
  let done = null;
  const onEvent = ({ event, data }) => {
    const value = parse(data);
    if (event === "token" && typeof value.text === "string") {
      text += value.text;
      onText(text);
    } else if (event === "done" && typeof value.text === "string" && value.stats) {
      done = value;
    } else if (event === "error") {
      throw errorOf(value.error?.code, value.error?.message) ?? badAnswer();
    } else {
      throw badAnswer();
    }
  };
  await readSse(byteStream, onEvent, onBytes);
  if (!done) throw new ApiError("unreachable", "The server broke off in the middle of a caption.");
  return done;
}

async function refusalOf(response) {
  const body = await response.json().catch(() => null);
  const retryAfterS = Number(response.headers.get("retry-after")) || 1;
  return (
    errorOf(body?.error?.code, body?.error?.message, retryAfterS) ?? badAnswer(response.status)
  );
}

/** The server's own error by its code, or undefined where it is none. */
function errorOf(code, message, retryAfterS) {
  if (typeof message !== "string") return undefined;
  const kind = KINDS[code] ?? "refused";
  return new ApiError(kind, message, retryAfterS);
}

function parse(json) {
  try {
    return Object(JSON.parse(json));
  } catch {
    throw badAnswer();
  }
}

function badAnswer(status) {
  const detail = status ? ` (status ${status})` : "";
  return new ApiError(
    "bad_answer",
    `The answer is not one that Sightline's server gives${detail}.`,
  );
}

/** Every failure as an ApiError, except the caller's own abort, which stays an AbortError. */
function named(error, patience) {
  if (patience.ranOut()) return new ApiError("silent", "The server has said nothing for a while.");
  if (error instanceof ApiError || error.name === "AbortError") return error;
  if (error instanceof SyntaxError) return badAnswer();
  return new ApiError("unreachable", "The server does not answer.");
}

/** An abort signal that follows `outer` and also fires after `limitMs` without `renew()`. */
function createPatience(limitMs, outer) {
  const controller = new AbortController();
  const follow = () => controller.abort();
  let over = false;
  let timer;
  const renew = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      over = true;
      controller.abort();
    }, limitMs);
  };
  if (outer?.aborted) follow();
  outer?.addEventListener("abort", follow, { once: true });
  renew();
  return {
    signal: controller.signal,
    renew,
    ranOut: () => over && !outer?.aborted,
    end() {
      clearTimeout(timer);
      outer?.removeEventListener("abort", follow);
    },
  };
}
