// Which captions are told and how much of them. Pure; times are milliseconds.

/**
 * "Follow the scene": a caption that has stood for this long is told as a sentence, and of a scene that rests
 * for as long details are asked for, once.
 */
const SENTENCE_AFTER_MS = 3_000;
const DETAILS_AFTER_MS = 10_000;
const FEW_WORDS = 12;

/**
 * What has been told: of which caption, its whole text, and the part that was said; since when the present one
 * stands, and of which text details were asked for.
 */
export const initialTelling = {
  id: null,
  text: "",
  said: "",
  standing: "",
  since: -Infinity,
  detailed: null,
};

/** `telling` after `caption` was seen on the screen. */
export function seen(telling, { text, finished, isOnce }, at) {
  const isNew = finished && !isOnce && text.trim() !== telling.standing;
  return isNew ? { ...telling, standing: text.trim(), since: at } : telling;
}

/**
 * What is to be told of `caption` ({ id, text, finished, lang, isAnswer }) at `at`: { kind: "answer" |
 * "caption", text, lang }, or null. `when` is request | changes | all, `much` is few | sentence | all |
 * follow.
 */
export function toTell(telling, caption, { when, much }, at) {
  const { id, lang, finished, isAnswer, isOnce } = caption;
  const text = caption.text.trim();
  if (!finished || !text) return null;
  if (isAnswer && id !== telling.id) return { kind: "answer", text, lang };
  if (isOnce || when === "request") return null;
  const part = partOf(text, much === "follow" ? muchAfter(at - telling.since) : much);
  const isNew = when === "all" ? id !== telling.id : text !== telling.text;
  const isMore = much === "follow" && text === telling.text && part.length > telling.said.length;
  return isNew || isMore ? { kind: "caption", text: part, lang } : null;
}

/** `telling` after `said` was told of `caption`. */
export function toldOf(telling, { id, text, isOnce }, said) {
  return isOnce ? { ...telling, id } : { ...telling, id, text: text.trim(), said };
}

/** Whether details are to be asked for of a scene that rests. */
export function isDetailDue(telling, { settings, caption, steady, request }, at) {
  const follows = settings.voiceMuch === "follow" && settings.voiceWhen !== "request";
  const isFree = steady && caption.finished && !caption.isOnce && request?.step !== "answering";
  const isNew = telling.standing !== "" && telling.detailed !== telling.standing;
  return follows && isFree && isNew && at - telling.since >= DETAILS_AFTER_MS;
}

/** `telling` after details were asked for. */
export const detailsAsked = (telling) => ({ ...telling, detailed: telling.standing });

const muchAfter = (ms) => (ms < SENTENCE_AFTER_MS ? "few" : "sentence");

/** The part of a text that is said: a few words, its first sentence, or all of it. */
export function partOf(text, much) {
  if (much === "all") return text;
  const sentence = /^.+?[.!?…。！？](?=\s|$)/su.exec(text)?.[0] ?? text;
  if (much === "sentence") return sentence;
  const words = sentence.split(/\s+/);
  if (words.length <= FEW_WORDS) return sentence;
  const few = words.slice(0, FEW_WORDS).join(" ");
  // A whole clause rather than half of the next one.
  return /^(.*\S)[,;:]\s/su.exec(few)?.[1] ?? few;
}
