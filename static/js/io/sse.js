// A parser for text/event-stream, see https://html.spec.whatwg.org/multipage/server-sent-events.html.
// EventSource cannot POST, so the stream is read from a fetch response.

/**
 * Returns `push(text)`, which takes the stream in chunks of any size and calls
 * `onEvent({ event, data })` at the blank line that ends each event.
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
    // A comment has an empty field name; `id` and `retry` concern reconnecting, which is not done here.
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
 * Reads a byte stream to its end. Calls `onEvent` for each event and `onBytes` for each chunk,
 * including keep-alive comments.
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
    // Needed if `onEvent` threw; a no-op if the stream has ended.
    reader.cancel().catch(() => {});
  }
}
