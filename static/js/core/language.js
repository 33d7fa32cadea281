// The language of captions, for screen readers and translators.

const NANO = "nano";

/**
 * The language (BCP 47) of a text, "" if it is unknown. `by` is who made it (stats.by), `model` the
 * model that ran, `answerLanguage` the setting.
 *
 * nano and the finder know only English. What the reader found in a picture is in any language.
 */
export function languageOf({ by = "model", model, answerLanguage }) {
  if (by === "finder" || (by === "model" && model === NANO)) return "en";
  return by === "model" ? answerLanguage : "";
}
