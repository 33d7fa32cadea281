// The session as text, as CSV and as subtitles. Pure: entries (oldest first) in, a file's text out.

import { isMoment } from "../core/session.js";
import { entryNote } from "./boxes.js";
import { clockTime, dateText, gapText, spanText } from "./session.js";

/** How long a caption that was seen once is shown as a subtitle, unless the next one comes sooner. */
const SHORTEST_SUBTITLE_MS = 2_000;
const COLUMNS = [
  ...["date", "time", "end date", "end time", "kind", "source"],
  ...["question", "text", "note", "model"],
];
/** Spreadsheets take a cell that begins so for a formula. */
const FORMULA = /^[\s]*[=+\-@\t\r]/;

/** The kinds of file, by the ending of their names: { label, type, write(entries) }. */
export const FILES = {
  txt: { label: "Text", type: "text/plain", write: textFile },
  csv: { label: "CSV", type: "text/csv", write: csvFile },
  srt: { label: "SRT", type: "application/x-subrip", write: srtFile },
};

/** The name of a file that is saved at `clock`, as in "sightline-2026-11-30-140251.csv". */
export const fileName = (ending, clock) =>
  `sightline-${dateText(clock)}-${clockTime(clock).replaceAll(":", "")}.${ending}`;

/** One line a moment or gap; model and source stand alone before the first moment that has them. */
export function textFile(entries) {
  let maker = "";
  return entries
    .flatMap((entry) => {
      const time = `${dateText(entry.from)} ${spanText(entry)}`;
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
    return [...times, kind, source, asked, text.trim(), note, model];
  });
  return `\ufeff${[COLUMNS, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

function cell(value) {
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
