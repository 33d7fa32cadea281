"""The event-stream parser, as the standard has it, however the bytes are cut."""

from __future__ import annotations

import pytest

PARSE = """
  const events = [];
  const push = M.createSseParser((event) => events.push([event.event, event.data]));
  for (const piece of arg) push(piece);
  return events;
"""
READ = """
  const events = [];
  let heard = 0;
  const bytes = new TextEncoder().encode(arg);
  const stream = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
      controller.close();
    },
  });
  await M.readSse(stream, (event) => events.push(event.data), () => { heard += 1; });
  return [events, heard === bytes.length];
"""


@pytest.mark.parametrize(
    ("stream", "events"),
    [
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
    ],
)
def test_a_stream_means_the_same_wherever_it_is_cut(modules, stream, events):
    whole = [[stream]]
    in_two = [[stream[:cut], stream[cut:]] for cut in range(len(stream) + 1)]
    by_character = [list(stream), ["", *stream, ""]]
    ways = [*whole, *in_two, *by_character]
    body = f"const parse = (arg) => {{ {PARSE} }}; return arg.map(parse);"
    assert modules("io/sse", body, ways) == [events] * len(ways)


def test_characters_of_several_bytes_survive_being_cut(modules):
    words = "Ein großer Bär 🐻 看着"
    assert modules("io/sse", READ, f"data: {words}\n\n") == [[words], True]


def test_a_mark_at_the_beginning_is_no_part_of_the_first_field(modules):
    assert modules("io/sse", READ, "\ufeffdata: a\n\n") == [["a"], True]


def test_reading_stops_when_an_event_is_refused(modules):
    body = """
      let cancelled = false;
      const stream = new ReadableStream({
        start: (controller) => controller.enqueue(new TextEncoder().encode("data: a\\n\\n")),
        cancel: () => { cancelled = true; },
      });
      const refuse = () => { throw new Error("no"); };
      const said = await M.readSse(stream, refuse).catch((error) => error.message);
      return [said, cancelled];
    """
    assert modules("io/sse", body) == ["no", True]
