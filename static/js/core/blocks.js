// The parts of an answer, so that lists, line breaks and JSON are shown as such. Pure.

const ITEM = /^\s*(?:[-*•]|\d{1,2}[.)])\s+(.*)$/;
const FENCE = /^\s*```/;

/**
 * The blocks of a text: [{ kind: "text" | "item" | "code", text }], in order. Markdown's signs of headings,
 * bold and code are left out.
 */
export function blocksOf(text) {
  const json = jsonOf(text);
  if (json !== null) return [{ kind: "code", text: json }];
  const blocks = [];
  let isCode = false;
  for (const line of text.trim().split("\n")) {
    if (FENCE.test(line)) {
      isCode = !isCode;
      if (isCode) blocks.push({ kind: "code", text: "" });
    } else if (isCode) {
      const code = blocks.at(-1);
      code.text += code.text ? `\n${line}` : line;
    } else if (line.trim()) {
      const item = ITEM.exec(line);
      blocks.push({ kind: item ? "item" : "text", text: plain(item ? item[1] : line) });
    }
  }
  return blocks.filter((block) => block.text);
}

const plain = (line) =>
  line
    .replace(/^\s*#{1,6}\s+/, "")
    .replace(/(\*\*|__)(?=\S)(.+?)(?<=\S)\1/g, "$2")
    .replace(/`([^`]+)`/g, "$1")
    .trim();

/** `text` as indented JSON if it is an object or a list, else null. */
function jsonOf(text) {
  const inner = text.trim().replace(/^```(?:json)?\n([\s\S]*)\n```$/, "$1");
  if (!/^[[{]/.test(inner)) return null;
  try {
    return JSON.stringify(JSON.parse(inner), null, 2);
  } catch {
    return null;
  }
}
