// The texts of the studies of a still: patches, places, aspects, a second answer. Pure.

import { areaOf, placeOf } from "../core/geometry.js";
import { alikeOf, middleOf, patchAt, placesOf } from "../core/patches.js";
import { boxInPicture, placeIn } from "../core/places.js";
import { questionText } from "../core/prompt.js";
import { isMirrored } from "../core/source.js";
import { MAX_PHRASE_CHARS, otherModels, studyHindrance, studyOf, turnOf } from "../core/studies.js";
import { regionOf } from "../core/thread.js";
import { stillOf } from "../core/view.js";
import { apart } from "../core/words-apart.js";
import { pictureOf, regionText, stillName } from "./ask.js";
import { cutText, placeText, shareText } from "./boxes.js";
import { FAILURES } from "./explain.js";
import { percentText } from "./sure.js";

const REMOTE = {
  patches: "The model runs on another server, which does not tell what it makes of patches.",
  where: "The model runs on another server, which does not tell where it looks.",
  aspects: "The model runs on another server, which tells no probabilities of given answers.",
};
const STUDY_FAILURES = {
  ...FAILURES,
  timeout: "The model took too long. Try again.",
  gone: "That picture is no longer here: the newest 20 are kept. Compare with another one.",
  changed: "Another model was chosen meanwhile.",
  model_gone: "The other model could not be loaded.",
};
const WAITING = {
  patches: "Comparing the patches …",
  where: "Looking for it …",
  aspects: "Asking about the aspects …",
};

/** Why a study cannot be asked now, "" if it can. */
export function hindranceText(state, kind) {
  const why = studyHindrance(state, kind);
  if (why === "none") return "";
  if (why === "live") return "Freeze the picture first.";
  if (why === "waiting") return "There is no answer about this picture yet to compare with.";
  if (why === "remote") return `${REMOTE[kind]} A model on this computer does.`;
  const { phase } = state.server;
  if (phase === "failed") return "The model could not be loaded. Choose another one first.";
  return phase === "gone" ? FAILURES.unreachable : "The model is loading.";
}

/** What is to be said of a study that is asked or has failed, else "". */
export function stepText({ step, error }, waiting) {
  if (step === "asked") return waiting;
  if (step !== "failed") return "";
  return STUDY_FAILURES[error.kind] && !error.message
    ? STUDY_FAILURES[error.kind]
    : error.message || STUDY_FAILURES[error.kind];
}

const counted = (count, name) => `${count} ${name}${count === 1 ? "" : "s"}`;
const took = (seconds) => `${seconds.toFixed(seconds < 0.095 ? 2 : 1)} s`;

/** The patches of the still in view: { hint, note, seen }; `seen` is what the model sees, [{ name, value }]. */
export function patchesTexts(state) {
  const study = studyOf(state, "patches");
  const hint = hindranceText(state, "patches");
  if (!study) return { hint, note: "", seen: [] };
  const { step, found, seconds } = study;
  if (!found || step === "failed")
    return { hint, note: stepText(study, WAITING.patches), seen: [] };
  const { grid, size, tiles, tokens } = found;
  const [rows, columns] = grid;
  const seen = [
    { name: "Size", value: `${size[0]} × ${size[1]} pixels` },
    { name: "Tiles", value: tilesText(tiles) },
    { name: "Patches", value: `${rows} × ${columns}` },
    { name: "Tokens", value: `${tokens} of the prompt are the picture` },
    { name: "Took", value: took(seconds) },
  ];
  return { hint, note: alikeText(state, study), seen };
}

const tilesText = (tiles) =>
  tiles === 1 ? "1, the whole picture" : `${tiles}, one of them the whole picture`;

/** Where a patch is: "row 3 of 8, column 5 of 8", as the picture is shown. */
export function patchText(state, grid, index) {
  const [rows, columns] = grid;
  const column = index % columns;
  const shown = isMirrored(state) ? columns - 1 - column : column;
  return `row ${Math.floor(index / columns) + 1} of ${rows}, column ${shown + 1} of ${columns}`;
}

function alikeText(state, { ask, found, part }) {
  const { grid, map } = found;
  const [mirror, region] = [isMirrored(state), regionOf({ part })];
  const chosen = patchAt(grid, ask);
  const where = placeText(placeIn(region, middleOf(grid, chosen)), mirror);
  const others = alikeOf(map).filter((index) => index !== chosen);
  const patch = `Patch in ${patchText(state, grid, chosen)} (${where})`;
  if (others.length === 0) return `${patch}: no other one is alike.`;
  const places = placesOf(grid, others, region).map((place) => placeText(place, mirror));
  const share = Math.max(1, Math.round((100 * others.length) / map.length));
  const many = `${counted(others.length, "other patch").replace(/patchs$/, "patches")}`;
  const verb = others.length === 1 ? "is" : "are";
  return `${patch}: ${many} ${verb} alike, ${share} % of all, mostly ${places.join(" and ")}.`;
}

const MAKERS = {
  detector: "by the object finder",
  features: "by what the model looked at, and patches that are alike",
  attention: "by what the model looked at",
};

/** Where a thing is: { hint, note, rows, isShown }; rows are [{ name, value }], a box each. */
export function whereTexts(state) {
  const study = studyOf(state, "where");
  const hint = hindranceText(state, "where");
  if (!study) return { hint, note: "", rows: [], isShown: false };
  const { step, ask, found, seconds, part } = study;
  const thing = `“${ask.phrase}”`;
  const isShown = step !== "asked";
  if (step !== "done") return { hint, note: stepText(study, WAITING.where), rows: [], isShown };
  const inPart = part ? ` in the part ${regionText(part, isMirrored(state))}` : "";
  if (found.boxes.length === 0 && found.known === false) {
    return {
      hint,
      note: `The model does not know ${thing}, so it cannot tell.`,
      rows: [],
      isShown,
    };
  }
  if (found.boxes.length === 0) {
    const note = `Not there: the model does not find ${thing}${inPart} (${took(seconds)}).`;
    return { hint, note, rows: [], isShown };
  }
  const rows = found.boxes.map(({ box, score, by }, index) => {
    const shown = boxInPicture(regionOf({ part }), box);
    const place = placeText(placeOf(shown), isMirrored(state));
    const value = `${place}, ${shareText(areaOf(shown))}. Score ${percentText(score)}, ${MAKERS[by] ?? by}.`;
    return { name: String(index + 1), value };
  });
  const [first] = rows;
  const more = rows.length > 1 ? `${counted(rows.length, "place")}. The surest: ` : "";
  const note = `${thing}${inPart}: ${more}${first.value}`;
  return { hint, note: `${note} ${took(seconds)}.`, rows: rows.length > 1 ? rows : [], isShown };
}

/** Why a phrase cannot be looked for, or "". */
export function phraseProblem(phrase) {
  const { length } = [...phrase.trim()];
  if (length === 0) return "Name a thing, such as “red cup”.";
  return length > MAX_PHRASE_CHARS
    ? `${length} characters: at most ${MAX_PHRASE_CHARS} are taken. Make it shorter.`
    : "";
}

const capitalised = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** The aspects of the still in view: { hint, note, groups, about }; groups are [{ name, bars }]. */
export function aspectsTexts(state) {
  const study = studyOf(state, "aspects");
  const hint = hindranceText(state, "aspects");
  if (study?.step !== "done") {
    return { hint, note: study ? stepText(study, WAITING.aspects) : "", groups: [], about: "" };
  }
  const { found, seconds } = study;
  const groups = found.aspects.map(({ id, labels }) => ({
    name: capitalised(id),
    bars: labels.slice(0, 3).map((one) => ({ ...one, isNone: false })),
  }));
  const note = `${groups.map(({ name, bars }) => `${name}: ${bars[0].label}`).join(". ")}.`;
  const uncalibrated = "Uncalibrated: take the numbers as an order, not as shares. ";
  return { hint, note, groups, about: `${found.calibrated ? "" : uncalibrated}${took(seconds)}.` };
}

/** The ways in which another answer can differ: [{ value, label, disabled }]. */
export function waysOf(state) {
  const still = stillOf(state);
  const others = state.stills.filter(({ id }) => id !== still?.id);
  return [
    { value: "question", label: "Another question" },
    { value: "detail", label: "Another detail" },
    { value: "moment", label: "Another picture", disabled: others.length === 0 },
    { value: "model", label: "Another model", disabled: otherModels(state).length === 0 },
  ];
}

const DETAILS = {
  ...{ low: "One tile", high: "Fine detail: the model's own tiles" },
  ...{ small: "A tile of three quarters", tiny: "A tile of half the side" },
};

/** What can be chosen of a way: [{ value, label }]. */
export function choicesOf(state, way) {
  const still = stillOf(state);
  if (!still) return [];
  if (way === "model")
    return otherModels(state).map(({ name, title }) => ({ value: name, label: title }));
  if (way === "moment") {
    const others = state.stills.filter(({ id }) => id !== still.id);
    return others.map((one) => ({ value: String(one.id), label: stillName(one) }));
  }
  const detail = turnOf(still)?.detail ?? still.detail;
  const details = Object.entries(DETAILS).filter(([value]) => value !== detail);
  return details.map(([value, label]) => ({ value, label }));
}

/** What is to be known before another answer is asked for. */
export function otherHint(state, way) {
  const hindrance = hindranceText(state, "other");
  if (hindrance) return hindrance;
  if (way === "model") {
    return "It is loaded for one answer, then this one again. Live captions wait meanwhile.";
  }
  return (
    { detail: "The same question, the picture in another size.", moment: "The same question." }[
      way
    ] ?? ""
  );
}

/** The two answers: { note, sides }; a side is { name, about, text, other, meta }, two of them or none. */
export function sidesTexts(state, isSwapped) {
  const still = stillOf(state);
  const study = studyOf(state, "other");
  if (!study) return { note: "", sides: [], isStale: false };
  const turn = still.thread.find(({ id }) => id === study.turnId);
  const waiting = study.ask.model && !study.found ? "Waiting for the other model …" : "Asking …";
  if (!turn || study.step === "failed" || !study.found) {
    return {
      note: stepText(study, waiting) || "Its first answer is not here any more.",
      sides: [],
    };
  }
  const [mine, theirs] = [turn.text.trim(), study.found.text.trim()];
  const sides = [
    {
      name: "A",
      about: aboutSide(state, still, turn),
      text: mine,
      other: theirs,
      meta: metaText(turn),
    },
    {
      name: "B",
      about: aboutSide(state, still, { ...study.ask, part: study.part, detail: study.detail }),
      ...{ text: theirs, other: mine },
      meta: study.step === "done" ? metaText({ ...study.found, seconds: study.seconds }) : "",
    },
  ];
  if (study.step === "asked") return { note: "Asking …", sides };
  const isSame = ![apart(mine, theirs), apart(theirs, mine)].flat().includes(true);
  const note = isSame ? "The same words." : "Words that differ are bold and underlined.";
  return { note, sides: isSwapped ? sides.reverse() : sides };
}

function aboutSide(state, still, { prompt, about, part, detail }) {
  const picture = state.stills.find(({ id }) => id === (about ?? still.id));
  const marks = [
    questionText(state, prompt),
    picture ? pictureOf(picture) : "",
    part && picture === still ? `part ${regionText(part, isMirrored(state))}` : "",
    detail === "low" ? "" : (DETAILS[detail] ?? detail).split(":")[0],
  ];
  return marks.filter(Boolean).join(" · ");
}

function metaText({ by, model, sure, seconds, cut }) {
  const maker = { finder: "object finder", reader: "text reader" }[by] ?? model;
  const how = sure ? `${percentText(sure.probability)} for all words` : "how sure is not known";
  const time = Number.isFinite(seconds) ? took(seconds) : "";
  return [maker, how, sure?.unsure ? "unsure" : "", time, cutText(cut)].filter(Boolean).join(" · ");
}
