// Which caption is on the screen. It is always the whole of a caption that the server sent, or the
// beginning of the newest one: never words of two. Pure, as state.js.

/**
 * A caption: `capturedAt` is when its frame was captured, `seconds` its place in a video or null, `lang` its
 * language, `prompt` what was asked. Of a finished one, `id` is that of its request, `isAnswer` tells the first
 * caption of a prompt, `isOnce` one that answers a question which is asked once, `by` and `checks` are those
 * of its statistics, `thing` is the thing that it is about, { name, place }, null for the whole picture, and
 * `cut` tells how it was cut, as in length.js. `stats` are those of the server, null if it sent none, and `sent` is
 * what was sent with a live frame, { prompt, reading, maxTokens, claims, turns }; `sure` is as in sure.js.
 */
export const NO_CAPTION = {
  ...{ id: null, text: "", finished: true, isAnswer: false, isOnce: false, capturedAt: null },
  ...{ seconds: null, lang: "", prompt: "", by: "model", checks: [], thing: null, cut: null },
  ...{ stats: null, sent: null, sure: null },
};

/**
 * `next` after `before`, with `whole`, the caption that was finished last. A caption whose request is
 * given up gives way to it.
 */
export function withWhole(before, next) {
  if (next.caption.finished) return next;
  const whole = before.caption.finished ? before.caption : before.whole;
  const awaited = next.view.stillId === null ? next.request : next.asking;
  return awaited === null ? { ...next, caption: whole } : { ...next, whole };
}

/**
 * The caption to show: the newest one, or the whole one before it until they differ, so that equal
 * words do not go and come back.
 */
export function shownCaption({ caption, whole }) {
  if (caption.finished) return caption;
  return whole.text.trim().startsWith(caption.text.trim()) ? whole : caption;
}
