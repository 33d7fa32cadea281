// Messages for screen readers beside the captions: the camera's coming and going, notices, and
// that captions continue. Pure: what was said and a state in, what to say out.

import { asSentence } from "./models.js";
import { noticeOf } from "./page.js";
import { backMessage, onMessage, stoppedMessage } from "./source.js";

/** How long after its end a notice about the server is not said again: it may come and go. */
const SAME_NOTICE_MS = 10_000;

/** The message before the first one. */
export const NO_MESSAGE = {
  text: "",
  isAlert: false,
  count: 0,
  started: false,
  isOn: false,
  wasOn: false,
  notice: null,
  over: { notice: null, at: -Infinity },
};

/**
 * The message due in `state` at `at`; the same `count` as in `last` if there is none.
 *
 * `last` is { text, isAlert, count, started, isOn, wasOn, notice, over }: the message, how many there were,
 * whether captions were started, whether the camera was on and ever since the start, the notice that
 * was said and is not over, and { notice, at } of the one before it.
 */
export function nextMessage(last, state, at) {
  const { started, camera } = state;
  const isOn = started && camera.phase === "live";
  const notice = noticeOf(state, at);
  const next = { ...last, started, isOn, wasOn: started && (last.wasOn || isOn) };
  if (last.started && !started) {
    return said({ ...next, notice }, stoppedMessage(state));
  }
  if (notice) {
    if (isSame(notice, last.notice) || isBackSoon(notice, last.over, at)) return next;
    const isAlert = notice.tone === "problem";
    return said({ ...next, notice }, `${asSentence(notice.title)} ${notice.text}`.trim(), isAlert);
  }
  // A problem with the camera is over when it is on, not while it is being opened.
  if (started && !isOn) return next;
  const over = last.notice ? { notice: last.notice, at } : last.over;
  return said({ ...next, notice: null, over }, isOn ? onText(last, state) : "");
}

function onText({ isOn, wasOn, notice }, state) {
  if (isOn && notice && isRefusal(notice)) return "";
  if (wasOn && notice?.tone === "problem") {
    return isAboutSource(notice) ? backMessage(state) : "Captions continue.";
  }
  return isOn ? "" : onMessage(state);
}

/** What could not be shown in place of what is in view. */
const isRefusal = ({ id }) => ["screen-refused", "files-refused", "files-reading"].includes(id);

const isAboutSource = ({ id }) => /^(camera|screen|video|sample)-/.test(id);

/** The text of a notice to wait changes with the progress. */
const isSame = (notice, other) =>
  notice.id === other?.id && (notice.tone === "wait" || notice.text === other.text);

const isBackSoon = (notice, over, at) =>
  !isAboutSource(notice) && isSame(notice, over.notice) && at - over.at < SAME_NOTICE_MS;

const said = (next, text, isAlert = false) =>
  text ? { ...next, text, isAlert, count: next.count + 1 } : next;
