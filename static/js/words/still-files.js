// A frozen picture and what was said of it, as text and as JSON. Pure.

import { regionOf } from "../core/thread.js";
import { turnTexts } from "./ask.js";
import { clockTime, dateText } from "./session.js";

/** The name of a file of a still, as in "sightline-2026-11-30-140251-picture.png". */
export const stillFileName = ({ clock }, ending) =>
  `sightline-${dateText(clock)}-${clockTime(clock).replaceAll(":", "")}-picture.${ending}`;

const answered = ({ thread }) => thread.filter(({ step }) => step === "done");

/** All questions and answers about a still. */
export function stillText(state, still) {
  const turns = answered(still).map((turn) => {
    const { question, about, answer, note } = turnTexts(state, still, turn);
    const asked = about ? `${question} (${about})` : question;
    return `${asked}\n${answer}\n(${note})`;
  });
  return [`Picture of ${dateText(still.clock)} ${clockTime(still.clock)}`, ...turns].join("\n\n");
}

/** The words that stand under the picture: { question, answer, region }, of its last answer; or null. */
export function stillCaption(state, still) {
  const turn = answered(still).findLast(({ about }) => about === still.id);
  if (!turn) return null;
  const { question, answer } = turnTexts(state, still, turn);
  return { question, answer, region: turn.part };
}

/** The same as JSON; regions are [x0, y0, x1, y1], 0..1 of the picture, times are in UTC. */
export function stillJson(state, still) {
  const turns = answered(still).map((turn) => {
    const { prompt, about, detail, text, cut, model, by, lang, seconds } = turn;
    return {
      question: turnTexts(state, still, turn).question,
      prompt,
      ...{ answer: text.trim(), cut: cut?.by ?? null, language: lang },
      ...{ model, by, detail, seconds, region: regionOf(turn) },
      other_picture: about !== still.id,
    };
  });
  const { clock, width, height } = still;
  const picture = { taken_at: new Date(clock).toISOString(), width, height };
  return `${JSON.stringify({ ...picture, turns }, null, 2)}\n`;
}
