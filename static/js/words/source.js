// The texts about what is looked at: its name, what cannot be shown, and the ways on. Pure, as page.js.

import { isVideo } from "../core/source.js";
import { cameraChoices } from "./camera.js";

/** Reading files takes longer than this: a notice says so. */
const READING_NOTICE_MS = 700;
/** More files than this are not named one by one. */
const MOST_NAMED = 4;

const SCREEN = { action: "screen", label: "Show a window" };
const CHOOSE_FILE = { action: "file", label: "Choose a file" };
const CLOSE = { action: "close", label: "Close", isQuiet: true };

/** Why a file cannot be shown, behind its name. */
const FILE_PROBLEMS = {
  type: "is no picture and no video.",
  broken:
    "is damaged, not whole, or in a format that this browser does not know. JPEG, PNG and WebP are known.",
  empty: "is empty.",
  gone: "cannot be read. It was moved or deleted, or the browser may not open it.",
  large: "is too large. A picture may have 120 megapixels and 200 MB.",
  unplayable:
    "cannot be played: it is damaged, has no picture, or is in a format that this browser does not know. " +
    "MP4 with H.264 and WebM are known.",
  novideo: "has sound, but no picture.",
  many: "was left out: 20 pictures are opened at a time.",
  second: "was left out: one video is shown at a time.",
  falsified: "could not be read, since this browser falsifies pictures against tracking.",
  link: "Save it as a file and drop that.",
};

const SCREEN_PROBLEMS = {
  denied: (platform) =>
    "No window was chosen, or the browser may not show one." +
    (platform === "macos"
      ? " On a Mac it needs the permission in System Settings, Privacy & Security, Screen Recording."
      : ""),
  missing: () => "The browser found no window that it can show.",
  taken: () =>
    "The system did not give the browser the picture. Try again, or choose another window.",
};

/** What is looked at, as its button names it. */
export function sourceName(state) {
  if (state.source.kind !== "camera") return state.source.name;
  const { options, selected } = cameraChoices(state);
  return options.find(({ value }) => value === selected)?.label ?? "Camera";
}

/** The label of the live picture, for those who do not see it. */
export const pictureLabel = ({ source }) =>
  source.kind === "camera" ? "What the camera sees" : source.name;

/** The label of a still, or of none. */
export const stillLabel = (still) => (still?.isFile ? still.source : "The frozen picture");

/** The notice about what could not be shown, or about files that are still read; as in page.js, or null. */
export function sourceNotice(state, at) {
  if (state.refusal) return refusalNotice(state);
  if (state.reading === 0 || at - state.readingAt < READING_NOTICE_MS) return null;
  const title = state.reading === 1 ? "Reading the file" : `Reading ${state.reading} files`;
  return { id: "files-reading", tone: "wait", title, text: "", until: null, actions: [] };
}

function refusalNotice({ refusal, platform }) {
  const { kind, problems } = refusal;
  const id = `${kind}-refused`;
  if (kind === "screen") {
    const text = (SCREEN_PROBLEMS[problems[0].why] ?? SCREEN_PROBLEMS.taken)(platform);
    const actions = [SCREEN, CLOSE];
    return { id, tone: "wait", title: "No window is shown", text, until: null, actions };
  }
  const [{ name, why }] = problems;
  const title =
    why === "link"
      ? "Only files can be dropped here"
      : problems.length === 1
        ? `“${name}” cannot be shown`
        : `${problems.length} files cannot be shown`;
  const named = problems.slice(0, MOST_NAMED).map((one) => fileText(one, problems.length));
  const left = problems.length - named.length;
  const text = [...named, ...(left > 0 ? [`The same goes for ${left} more.`] : [])].join(" ");
  return { id, tone: "problem", title, text, until: null, actions: [CHOOSE_FILE, CLOSE] };
}

function fileText({ name, why }, count) {
  const text = FILE_PROBLEMS[why] ?? FILE_PROBLEMS.broken;
  if (why === "link") return text;
  return count === 1 ? `It ${text}` : `“${name}” ${text}`;
}

/** A place in a video: "0:07", "1:02:03". */
export function placeText(seconds) {
  const whole = Math.floor(seconds);
  const [h, min, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return h > 0 ? `${h}:${two(min)}:${two(s)}` : `${min}:${two(s)}`;
}

/** A speed as a factor: "×¼". */
export const speedLabel = (speed) => `×${{ 0.25: "¼", 0.5: "½" }[speed] ?? speed}`;

/** "0:07", or "0:07 – 0:12" if the moment lasted; "" for what was no video. */
export function placesText({ seconds = null, toSeconds = null }) {
  if (seconds === null) return "";
  const [first, last] = [placeText(seconds), placeText(toSeconds ?? seconds)];
  return first === last ? first : `${first} – ${last}`;
}

/** How the chip calls the live picture. */
export function liveText(state) {
  const { source, playback } = state;
  if (isVideo(state)) {
    if (playback.hasEnded) return "Video, at its end";
    return playback.isPaused ? "Video, paused" : "Video";
  }
  return source.kind === "sample" ? "Sample" : "Live";
}

/** What is said once it is there: the camera is on. */
export const onMessage = ({ source }) =>
  source.kind === "camera" ? "The camera is on." : `${source.name} is shown.`;

export const backMessage = ({ source }) =>
  source.kind === "camera" ? "The camera is back." : `${source.name} is shown again.`;

export const stoppedMessage = ({ source }) =>
  source.kind === "camera"
    ? "Captions are stopped and the camera is off."
    : "Captions are stopped.";
