// The texts of the session: time spans, gaps, and what stands before and behind the list. Pure.

import { entriesOf } from "../core/session.js";
import { entryNote } from "./boxes.js";
import { placesText } from "./source.js";

/** Why nobody looked, as the start of a gap's line. */
const WHYS = {
  stopped: "Stopped",
  frozen: "Picture frozen",
  hidden: "Page hidden",
  server: "Server away",
  camera: "No picture",
  paused: "Video paused",
  moved: "Moved in the video",
  source: "Something else shown",
  model: "Model changed",
  answer: "A question was answered",
  unseen: "Not looked at",
};

const two = (number) => String(number).padStart(2, "0");

/** Local wall-clock time as HH:MM:SS; `clock` is milliseconds since 1970. */
export function clockTime(clock) {
  const date = new Date(clock);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Local date as YYYY-MM-DD. */
export function dateText(clock) {
  const date = new Date(clock);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** "14:02:51 – 14:03:06", or one time if both are the same. */
export function spanText({ from, to }) {
  const [first, last] = [clockTime(from), clockTime(to)];
  return first === last ? first : `${first} – ${last}`;
}

/** A gap: "Page hidden, server away 14:02:51 – 14:03:02", or "… since 14:02:51" while it is open. */
export function gapText({ whys, from, to = null }) {
  const names = whys.map((why) => WHYS[why]).join(", ");
  const reason = `${names.charAt(0)}${names.slice(1).toLowerCase()}`;
  return to === null ? `${reason} since ${clockTime(from)}` : `${reason} ${spanText({ from, to })}`;
}

/** What stands above the text of a moment: { question, note }, "" if there is nothing to say. */
export function momentTexts(moment) {
  return { question: moment.asked, note: entryNote(moment) };
}

/** When a moment was, and where in its video. */
export const timesText = (moment) =>
  [spanText(moment), placesText(moment)].filter(Boolean).join(" · ");

/** How many moments are gone, as a sentence; "" for none. */
export function goneText(gone) {
  if (gone === 0) return "";
  return gone === 1
    ? "The oldest moment is gone: 5,000 are kept."
    : `The oldest ${gone.toLocaleString("en")} moments are gone: 5,000 are kept.`;
}

/** How long what was said is kept; behind an empty list also what it will hold. */
export function keepingText({ keepsSession, session }) {
  const what = entriesOf(session).length > 0 ? "" : "What is said in this tab appears here. ";
  return keepsSession
    ? `${what}The session outlasts a reload and is deleted when the tab is closed.`
    : `${what}This browser keeps nothing for the page: the session is deleted when the page is closed or reloaded.`;
}
