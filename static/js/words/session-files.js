// The session as text, as CSV and as subtitles. Pure: entries (oldest first) in, a file's text out.

import { isMoment } from "../core/session.js";
import { entryNote } from "./boxes.js";
import { clockTime, dateText, gapText, timesText } from "./session.js";

/** How long a caption that was seen once is shown as a subtitle, unless the next one comes sooner. */
const SHORTEST_SUBTITLE_MS = 2_000;
const COLUMNS = [
  ...["date", "time", "end date", "end time", "kind", "source"],
  ...["question", "text", "note", "model", "video time", "end video time"],
];
/** Spreadsheets take a cell that begins so for a formula. */
const FORMULA = /^[\s]*[=+\-@\t\r]/;

/** The kinds of file, by the ending of their names: { label, type, write(entries) }. */
export const FILES = {
  txt: { label: "Text", type: "text/plain", write: textFile },
  csv: { label: "CSV", type: "text/csv", write: csvFile },
  srt: { label: "SRT", type: "application/x-subrip", write: srtFile },
  "video.srt": { label: "SRT for the video", type: "application/x-subrip", write: videoSrtFile },
};

/** The name of a file that is saved at `clock`, as in "sightline-2026-11-30-140251.csv". */
export const fileName = (ending, clock) =>
  `sightline-${dateText(clock)}-${clockTime(clock).replaceAll(":", "")}.${ending}`;

/** One line a moment or gap; model and source stand alone before the first moment that has them. */
export function textFile(entries) {
  let maker = "";
  return entries
    .flatMap((entry) => {
      const time = `${dateText(entry.from)} ${timesText(entry)}`;
      if (!isMoment(entry)) return [`${dateText(entry.from)} (${gapText(entry)})`];
      const before = maker;
      maker = [entry.model, entry.source].filter(Boolean).join(", ");
      const words = [entryNote(entry), entry.asked].filter(Boolean).map((text) => `${text}: `);
      const line = `${time}  ${words.join("")}${oneLine(entry.text)}`;
      return maker === before ? [line] : [`[${maker}]`, line];
    })
    .join("\n");
}

/** RFC 4180, with a byte order mark, by which spreadsheets know UTF-8. */
export function csvFile(entries) {
  const rows = entries.map((entry) => {
    const { from, to, kind, source = "", asked = "", text = "", model = "" } = entry;
    const note = isMoment(entry) ? entryNote(entry) : gapText(entry);
    const times = [dateText(from), clockTime(from), dateText(to), clockTime(to)];
    const places = [entry.seconds, entry.toSeconds].map(secondsText);
    return [...times, kind, source, asked, text.trim(), note, model, ...places];
  });
  return `\ufeff${[COLUMNS, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

const secondsText = (seconds) => (Number.isFinite(seconds) ? seconds.toFixed(2) : "");

/** A value as a cell of CSV. */
export function cell(value) {
  const safe = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Subtitles that begin with the first moment at 0; none is shown in a gap. */
export function srtFile(entries) {
  const begin = entries.find(isMoment)?.from ?? 0;
  const cues = entries.flatMap((entry, index) => {
    if (!isMoment(entry)) return [];
    const next = entries[index + 1]?.from ?? Infinity;
    const end = Math.max(entry.to, Math.min(entry.from + SHORTEST_SUBTITLE_MS, next));
    const lines = [entry.asked, entry.text].map(subtitleText).filter(Boolean);
    return [[`${srtTime(entry.from - begin)} --> ${srtTime(end - begin)}`, ...lines]];
  });
  return cues.map((lines, index) => `${[index + 1, ...lines].join("\n")}\n`).join("\n");
}

/** The last video of the session, by what the session calls it; "" for none. */
export const videoOf = (entries) => entries.findLast(isOfVideo)?.source ?? "";

const isOfVideo = (entry) => entry.kind === "caption" && Number.isFinite(entry.seconds);

/**
 * Subtitles for the last video, at the places that were captioned. A place that was looked at twice has the
 * words of the last time.
 */
export function videoSrtFile(entries) {
  const name = videoOf(entries);
  const byPlace = new Map();
  for (const entry of entries) {
    if (isOfVideo(entry) && entry.source === name) byPlace.set(entry.seconds.toFixed(2), entry);
  }
  const shown = [...byPlace.values()].sort((one, other) => one.seconds - other.seconds);
  const cues = shown.map(({ seconds, toSeconds, text }, index) => {
    const next = shown[index + 1]?.seconds ?? Infinity;
    const least = seconds + SHORTEST_SUBTITLE_MS / 1000;
    const end = Math.min(next, Math.max(toSeconds, least));
    return [`${srtTime(seconds * 1000)} --> ${srtTime(end * 1000)}`, subtitleText(text)];
  });
  return cues.map((lines, index) => `${[index + 1, ...lines].join("\n")}\n`).join("\n");
}

/** Text without what a player takes for an end of the subtitle or for its times. */
const subtitleText = (text) =>
  text
    .trim()
    .replace(/\s*[\r\n]+\s*/g, "\n")
    .replaceAll("-->", "→");

function srtTime(ms) {
  const part = (value, size) => String(Math.floor(value)).padStart(size, "0");
  const [s, min, h] = [ms / 1000, ms / 60_000, ms / 3_600_000];
  return `${part(h, 2)}:${part(min % 60, 2)}:${part(s % 60, 2)},${part(ms % 1000, 3)}`;
}

const oneLine = (text) => text.trim().replace(/\s+/g, " ");
