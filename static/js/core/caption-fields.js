// What a caption request says beside its picture. Pure.

/** The fields of a caption request, as text, of the options of `fetchCaption` in io/api.js. */
export function captionFields(options) {
  const { prompt, reading, camera, kind, maxTokens, detail, turns, claims } = options;
  const { explain, begin, alternatives } = options;
  return {
    prompt,
    ...(camera ? { camera } : {}),
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
