// A bar for a label: how likely it is, in one or two columns.

import { createElement, setAttribute, setProperty, setText } from "./dom.js";
import { percentText } from "../words/sure.js";

export function createBar() {
  const row = createElement("li", "bar");
  row.append(createElement("span", "bar-label"), column(), column());
  row.firstElementChild.dir = "auto";
  return row;
}

function column() {
  const root = createElement("span", "bar-column");
  const track = createElement("span", "bar-track");
  track.append(createElement("span", "bar-fill"));
  root.append(createElement("span", "bar-value"), track);
  return root;
}

/** Shows { label, probability, isNone, pair }; `names` are those of both columns, or null for one without a name. */
export function showBar(row, { label, probability, isNone, pair = null }, names = null) {
  const [name, mine, theirs] = row.children;
  setText(name, label);
  setAttribute(row, "data-none", isNone ? "" : null);
  setAttribute(row, "data-pair", names ? "" : null);
  showColumn(mine, names?.[0] ?? "", probability);
  setProperty(theirs, "hidden", names === null);
  if (names) showColumn(theirs, names[1], pair);
}

function showColumn({ children: [value, track] }, name, probability) {
  const number = probability === null ? "no number" : percentText(probability);
  setText(value, name ? `${name} ${number}` : number);
  setProperty(track, "hidden", probability === null);
  track.firstElementChild.style.setProperty("width", `${((probability ?? 0) * 100).toFixed(1)}%`);
}
