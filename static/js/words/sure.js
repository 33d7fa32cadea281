// The texts of how sure the model is, and of claims that it denies. Pure.

import { gradeOf } from "../core/sure.js";

/** Words in doubt that are named; the others are only marked. */
const NAMED = 3;
const MARKS = /^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu;

export const GRADES = { sure: "sure", fairly: "fairly sure", unsure: "unsure" };

/** A probability as a person reads it: never 0 or 100 %, of which no model can be sure. */
export function percentText(probability) {
  if (probability < 0.005) return "< 1 %";
  if (probability > 0.995) return "> 99 %";
  return `${Math.round(probability * 100)} %`;
}

/** A word in quotation marks, without the marks at it. */
export const quoted = (word) => `“${word.replace(MARKS, "") || word}”`;

/** How sure the model is of a caption or an answer, as parts of a line: [] if there is nothing to say. */
export function doubtTexts({ sure, stats }) {
  const least = [...(sure?.words ?? [])].sort((one, other) => one.probability - other.probability);
  const nameOf = ({ text, probability }) => `${quoted(text)} (${percentText(probability)})`;
  const isUnsure = ({ probability }) => gradeOf(probability) === "unsure";
  const named = least.filter(isUnsure).slice(0, NAMED).map(nameOf);
  // Several words of which each is fairly sure may be unsure together.
  const together = least.length > 1 ? `unsure, most of ${nameOf(least[0])}` : "unsure";
  const claims = (stats?.claims ?? []).filter(({ supported }) => !supported);
  const phrases = (isLeft) =>
    claims.filter(({ start }) => (start === null) === isLeft).map(({ phrase }) => quoted(phrase));
  const [left, denied] = [phrases(true), phrases(false)];
  return [
    named.length > 0 ? `unsure of ${named.join(", ")}` : sure?.unsure ? together : "",
    denied.length > 0 ? `the model denies when asked: ${denied.join(", ")}` : "",
    left.length > 0 ? `left out, as the model denied it: ${left.join(", ")}` : "",
  ].filter(Boolean);
}

/** Why captions are not checked although the setting says so, or "". */
export function claimsHint({ server: { status }, claimless, settings }) {
  if (settings.claims === "off") return "";
  if (status?.remote) return "The model runs on another server, so nothing is checked.";
  const isUnable = claimless !== null && claimless === status?.model;
  return isUnable ? "This model cannot be asked, so nothing is checked." : "";
}
