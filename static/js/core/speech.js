// What is said next, by order of weight: alert, answer, news, caption. Pure; times are milliseconds.
//
// Alerts and answers interrupt what weighs less and are said to their end, each of them, equal ones too.
// News waits for its turn and may be cut. Of captions only the newest is ever said, and none is queued: the
// caller offers the present one at each step.

const WEIGHTS = { caption: 0, news: 1, answer: 2, alert: 3 };

export const initialSpeech = {
  /** Counts the messages; each has an id of its own. */
  count: 0,
  /** What is being said: { id, kind, text, lang }, or null. */
  speaking: null,
  /** Alerts, answers and news that wait, in the order of their arrival. */
  waiting: [],
  /** When the next caption may be said. */
  freeAt: -Infinity,
  /** Neither news nor captions are said: the person types or reads. */
  isHeld: false,
};

/** `speech` with a message to say: { kind, text, lang }. */
export function told(speech, message) {
  const id = speech.count + 1;
  return { ...speech, count: id, waiting: [...speech.waiting, { ...message, id }] };
}

/** `speech` after the person has silenced it. */
export const silenced = (speech) => ({ ...speech, speaking: null, waiting: [] });

/** `speech` while it is held or no longer held; what is being said stops, but for an alert. */
export function held(speech, isHeld) {
  if (speech.isHeld === isHeld) return speech;
  const stops = isHeld && speech.speaking && speech.speaking.kind !== "alert";
  return { ...speech, isHeld, speaking: stops ? null : speech.speaking };
}

/** `speech` after the message `id` was said or failed; captions wait until `freeAt`. */
export function ended(speech, id, freeAt) {
  return speech.speaking?.id === id ? { ...speech, speaking: null, freeAt } : speech;
}

/** `speech` after the message `id` could not be said: all but a caption is said again. */
export function failed(speech, id) {
  const { speaking, waiting } = speech;
  if (speaking === null || speaking.id !== id) return speech;
  const again = speaking.kind === "caption" ? [] : [speaking];
  return { ...speech, speaking: null, waiting: [...again, ...waiting] };
}

/**
 * `speech` with what is to be said at `at`. `caption` is { text, lang } of the present caption, or null if
 * there is nothing new to say of it; it is said now or not at all.
 */
export function stepped(speech, caption, at) {
  const { speaking, waiting, isHeld } = speech;
  const next = heaviest(isHeld ? waiting.filter(({ kind }) => kind !== "news") : waiting);
  if (next && (!speaking || interrupts(next, speaking))) {
    const others = waiting.filter(({ id }) => id !== next.id);
    // An answer that an alert has cut is said again from its start.
    const cut = speaking?.kind === "answer" ? [speaking] : [];
    return { ...speech, speaking: next, waiting: [...cut, ...others] };
  }
  if (speaking || next || isHeld || !caption || at < speech.freeAt) return speech;
  const id = speech.count + 1;
  return { ...speech, count: id, speaking: { ...caption, kind: "caption", id } };
}

const weightOf = ({ kind }) => WEIGHTS[kind];
const interrupts = (one, other) =>
  weightOf(one) >= WEIGHTS.answer && weightOf(one) > weightOf(other);

/** The heaviest of the messages, the first of equal ones; null if there is none. */
function heaviest(messages) {
  return messages.reduce(
    (best, one) => (best === null || weightOf(one) > weightOf(best) ? one : best),
    null,
  );
}
