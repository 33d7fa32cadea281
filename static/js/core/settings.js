// What a person chose, remembered by the browser. Captions are never among it.

const oneOf =
  (...choices) =>
  (value) =>
    choices.includes(value);
const between = (low, high) => (value) => Number.isFinite(value) && value >= low && value <= high;
const text = (longest) => (value) => typeof value === "string" && value.length <= longest;
const yesOrNo = (value) => typeof value === "boolean";

/** Each setting's default and the law its value obeys. */
const SETTINGS = {
  // Off, so that "left" in a caption is left on the screen: the camera looks at a scene, not at you.
  mirror: [false, yesOrNo],
  fit: ["cover", oneOf("cover", "contain")],
  theme: ["auto", oneOf("auto", "light", "dark")],
  captionScale: [1, between(0.6, 2.5)],
  intervalS: [0.5, between(0, 60)],
  jpegQuality: [0.8, between(0.3, 1)],
  /** A preset's id, or "" for the server's first one. */
  preset: ["", text(64)],
  /** Whether `ownPrompt` is asked instead, once it says something. */
  asksOwn: [false, yesOrNo],
  ownPrompt: ["", text(4_000)],
  deviceId: ["", text(512)],
  shortcuts: [true, yesOrNo],
};

/** A full set of settings out of anything: what is unknown or unlawful falls back to its default. */
export function lawfulSettings(candidate) {
  const entries = Object.entries(SETTINGS).map(([name, [standard, isLawful]]) => {
    const value = candidate?.[name];
    return [name, isLawful(value) ? value : standard];
  });
  return Object.fromEntries(entries);
}
