// What a caption request says beside its picture. Pure.

/** The longest name of a source that the server takes. */
const SOURCE_CHARS = 200;

/** The fields of a caption request, as text, of the options of `fetchCaption` in io/api.js. */
export function captionFields(options) {
  const { prompt, reading, camera, kind, maxTokens, detail, turns, claims } = options;
  const { explain, begin, alternatives, source } = options;
  return {
    prompt,
    ...(camera ? { camera } : {}),
    ...(source ? { source: source.slice(0, SOURCE_CHARS) } : {}),
    ...(reading ? { reading } : {}),
    ...(maxTokens ? { max_tokens: String(maxTokens) } : {}),
    ...(detail ? { detail } : {}),
    ...(turns?.length > 0 ? { turns: JSON.stringify(turns) } : {}),
    ...(claims && claims !== "off" ? { claims } : {}),
    ...(explain ? { explain } : {}),
    ...(begin ? { begin } : {}),
    ...(alternatives ? { alternatives: String(alternatives) } : {}),
    sure: "1",
    kind,
  };
}
