"""The event-stream parser follows the standard, however the bytes are cut."""

from __future__ import annotations

PARSE = """
  const events = [];
  const push = M.createSseParser((event) => events.push([event.event, event.data]));
  for (const piece of arg) push(piece);
  return events;
"""
READ = """
  const events = [];
  let received = 0;
  const bytes = new TextEncoder().encode(arg);
  const stream = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
      controller.close();
    },
  });
  await M.readSse(stream, (event) => events.push(event.data), () => { received += 1; });
  return [events, received === bytes.length];
"""


STREAMS = [
    ("event: token\ndata: {}\n\n", [["token", "{}"]]),
    ("data: a\n\ndata: b\n\n", [["message", "a"], ["message", "b"]]),
    ("data: a\r\n\r\ndata: b\r\n\r\n", [["message", "a"], ["message", "b"]]),
    ("data: a\r\rdata: b\r\r", [["message", "a"], ["message", "b"]]),
    ("data: one\ndata: two\n\n", [["message", "one\ntwo"]]),
    (": waiting\n\ndata: a\n\n", [["message", "a"]]),
    ("data:a\n\ndata:  b\n\n", [["message", "a"], ["message", " b"]]),
    ("data: a: b\n\n", [["message", "a: b"]]),
    ("data\n\n", [["message", ""]]),
    ("event: token\n\ndata: a\n\n", [["message", "a"]]),
    ("id: 7\nretry: 5\nnonsense\ndata: a\n\n", [["message", "a"]]),
    ("event: done\ndata: never ended\n", []),
    ("", []),
]


def test_stream_means_the_same_wherever_it_is_cut(modules):
    body = f"const parse = (arg) => {{ {PARSE} }}; return arg.map((ways) => ways.map(parse));"
    chunkings = [
        [
            [stream],
            *([stream[:cut], stream[cut:]] for cut in range(len(stream) + 1)),
            list(stream),
            ["", *stream, ""],
        ]
        for stream, _ in STREAMS
    ]
    parsed = modules("io/sse", body, chunkings)
    for (_, events), ways in zip(STREAMS, parsed, strict=True):
        assert ways == [events] * len(ways)


def test_multibyte_characters_may_be_cut(modules):
    text = "Ein großer Bär 🐻 看着"
    assert modules("io/sse", READ, f"data: {text}\n\n") == [[text], True]


def test_byte_order_mark_is_ignored(modules):
    assert modules("io/sse", READ, "\ufeffdata: a\n\n") == [["a"], True]


def test_reading_stops_if_the_handler_throws(modules):
    body = """
      let cancelled = false;
      const stream = new ReadableStream({
        start: (controller) => controller.enqueue(new TextEncoder().encode("data: a\\n\\n")),
        cancel: () => { cancelled = true; },
      });
      const fail = () => { throw new Error("no"); };
      const message = await M.readSse(stream, fail).catch((error) => error.message);
      return [message, cancelled];
    """
    assert modules("io/sse", body) == ["no", True]
