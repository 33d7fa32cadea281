// Which key each command has, as the person chose. Pure.
//
// The setting is a text, a line for each command that has not its own key: "start chord K". A command's mode is
// on (its key alone, or with Alt and Shift), chord (only with Alt and Shift, which also reaches a page that a
// screen reader reads in browse mode) or off.

/** The commands' own keys, in the order of their list. */
export const OWN_KEYS = {
  ...{ start: "S", freeze: "Space", ask: "A", earlier: "←", later: "→", play: "P", preset: "1-9" },
  ...{ mirror: "M", boxes: "B", voice: "V", now: "N", again: "R", detail: "D", full: "F" },
  ...{
    larger: "+",
    smaller: "-",
    timeline: "T",
    search: "/",
    explain: "E",
    settings: ",",
    escape: "Esc",
  },
};
export const MODES = ["on", "chord", "off"];
/** More than one key, or the one that always leads out: they keep theirs. */
const FIXED = ["preset", "escape"];

export const keepsKey = (id) => FIXED.includes(id);

/** Each command's { key, mode } by the setting; what it does not know is left out. */
export function keysOf(setting) {
  const keys = Object.entries(OWN_KEYS).map(([id, key]) => [id, { key, mode: "on" }]);
  const found = Object.fromEntries(keys);
  for (const line of setting.split("\n")) {
    const [id, mode, key] = line.split(" ");
    if (!(id in OWN_KEYS) || id === "escape" || !MODES.includes(mode) || !key) continue;
    found[id] = { key: keepsKey(id) ? OWN_KEYS[id] : key, mode };
  }
  return found;
}

/** The setting after another `key` or `mode` of a command; unchanged if another command has the key. */
export function withKey(setting, id, change) {
  const keys = keysOf(setting);
  const next = { ...keys[id], ...change };
  if (ownerOf(setting, next.key, id) !== null && next.mode !== "off") return setting;
  const all = Object.entries({ ...keys, [id]: next });
  const isOwn = ([one, { key, mode }]) => mode === "on" && key === OWN_KEYS[one];
  return all
    .filter((entry) => !isOwn(entry))
    .map(([one, { key, mode }]) => `${one} ${mode} ${key}`)
    .join("\n");
}

/** The other command than `id` that has the key, or null. */
export function ownerOf(setting, key, id) {
  const has = ([one, its]) => one !== id && its.key === key && its.mode !== "off";
  return Object.entries(keysOf(setting)).find(has)?.[0] ?? null;
}

/** The command of a key that was pressed, alone or as a chord with Alt and Shift; null for none. */
export function commandOf(setting, key, isChord) {
  const owner = ownerOf(setting, key, "");
  return owner && (isChord || keysOf(setting)[owner].mode === "on") ? owner : null;
}

/** The key of a command as people read it, "" if it is off. */
export function keyText(setting, id) {
  const { key, mode } = keysOf(setting)[id];
  return { on: key, chord: `Alt+Shift+${key}`, off: "" }[mode];
}
