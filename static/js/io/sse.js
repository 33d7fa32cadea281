// A parser for text/event-stream, as https://html.spec.whatwg.org/multipage/server-sent-events.html
// defines it. EventSource cannot POST, so the stream is read from a fetch response instead.

/**
 * Returns `push(text)`, which takes the stream's text in pieces cut anywhere and calls
 * `onEvent({ event, data })` for each event that a blank line has completed.
 */
export function createSseParser(onEvent) {
  let line = "";
  let event = "";
  let data = [];
  let afterCarriageReturn = false;

  function endLine() {
    if (line === "") {
      if (data.length > 0) onEvent({ event: event || "message", data: data.join("\n") });
      event = "";
      data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    line = "";
    // A comment has an empty field name; `id` and `retry` are for reconnecting, which we never do.
    if (field === "event") event = value;
    else if (field === "data") data.push(value);
  }

  return function push(text) {
    let from = 0;
    for (let i = from; i < text.length; i += 1) {
      const character = text[i];
      const endsPair = character === "\n" && afterCarriageReturn;
      afterCarriageReturn = character === "\r";
      if (character !== "\n" && character !== "\r") continue;
      if (!endsPair) {
        line += text.slice(from, i);
        endLine();
      }
      from = i + 1;
    }
    line += text.slice(from);
  };
}

/**
 * Reads a byte stream to its end, calling `onEvent` for each event and `onBytes` for each piece that
 * arrives (a comment that only keeps the line alive included).
 */
export async function readSse(byteStream, onEvent, onBytes = () => {}) {
  const push = createSseParser(onEvent);
  const decoder = new TextDecoder();
  const reader = byteStream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onBytes();
      push(decoder.decode(value, { stream: true }));
    }
  } finally {
    // Where `onEvent` threw, the rest is not wanted; where the stream has ended, this does nothing.
    reader.cancel().catch(() => {});
  }
}
