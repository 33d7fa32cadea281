"""The frame cache: a frame is encoded once for all questions; memory is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from counting_runtime import counting
from engine_kit import generate_ids
from vlm.engine.engine import Engine
from vlm.engine.frame_cache import EncodedFrame, FrameCache
from vlm.prompts import PRESETS
from vlm.types import Detail, Request


class Sized:
    """A stand-in for a state or features."""

    def __init__(self, nbytes: int, length: int = 0) -> None:
        self.nbytes, self.length = nbytes, length


def ids_of(engine: Engine, request: Request) -> list[int]:
    return list(generate_ids(engine, request, draft=()))


@pytest.mark.parametrize("detail", ["low", "high"])
def test_second_question_reuses_the_encoded_image(
    tiled_dir: Path, frames: list[Image.Image], detail: Detail
) -> None:
    engine, runtime = counting(tiled_dir)
    first = Request.about(frames[0], PRESETS[0].prompt, 6, detail)
    second = Request.about(frames[0], PRESETS[4].prompt, 6, detail)
    ids_of(engine, first)
    tiles = runtime.encoded_tiles
    fresh, _ = counting(tiled_dir)
    assert ids_of(engine, second) == ids_of(fresh, second)
    assert (runtime.encoded_tiles, runtime.prefills, runtime.verifies) == (tiles, 1, 1)
    assert (
        runtime.verified
        < len(engine.prepare(second).input_ids) - engine.prepare(second).image_tokens
    )


def test_frame_cache_does_not_change_the_text(
    nano_dir: Path, stops: frozenset[int], frames: list[Image.Image]
) -> None:
    for frame in frames[:4]:
        engine, runtime = counting(nano_dir, stops)
        for preset in PRESETS:
            request = Request.about(frame, preset.prompt, 40)
            fresh, _ = counting(nano_dir, stops)
            assert ids_of(engine, request) == ids_of(fresh, request)
        assert (runtime.encoded_tiles, runtime.prefills) == (1, 1)


def test_repeated_question_needs_one_pass(
    nano_dir: Path, stops: frozenset[int], frames: list[Image.Image]
) -> None:
    engine, runtime = counting(nano_dir, stops)
    request = Request.about(frames[0], PRESETS[0].prompt, 40)
    once = [item for item in engine.stream(request)]
    decodes = runtime.decodes
    again = [item for item in engine.stream(request)]
    assert again[-1].text == once[-1].text
    assert (runtime.encoded_tiles, runtime.prefills, runtime.decodes) == (1, 1, decodes)
    assert runtime.verifies == 1


def test_changed_pixel_makes_another_frame(
    nano_dir: Path, stops: frozenset[int], frames: list[Image.Image]
) -> None:
    engine, runtime = counting(nano_dir, stops)
    changed = frames[0].copy()
    changed.putpixel((3, 3), tuple(255 - level for level in changed.getpixel((3, 3))))
    for frame in (frames[0], changed):
        ids_of(engine, Request.about(frame, PRESETS[0].prompt, 3))
    assert runtime.encoded_tiles == 2


def test_same_bytes_of_another_size_make_another_frame() -> None:
    wide, high = Image.new("RGB", (8, 4)), Image.new("RGB", (4, 8))
    keys = {FrameCache.key(image, detail) for image in (wide, high) for detail in ("low", "high")}
    assert len(keys) == 4


def test_streams_about_one_frame_are_independent(
    nano_dir: Path, stops: frozenset[int], frames: list[Image.Image]
) -> None:
    engine, _ = counting(nano_dir, stops)
    requests = [Request.about(frames[0], preset.prompt, 20) for preset in PRESETS[:2]]
    expected = [ids_of(counting(nano_dir, stops)[0], request) for request in requests]
    ids_of(engine, requests[0])
    streams = [generate_ids(engine, request, draft=()) for request in requests]
    answers: list[list[int]] = [[], []]
    for _ in range(20):
        for stream, answer in zip(streams, answers, strict=True):
            answer += [token for token in [next(stream, None)] if token is not None]
    assert answers == expected


def test_abandoned_stream_keeps_the_frame_usable(
    nano_dir: Path, stops: frozenset[int], frames: list[Image.Image]
) -> None:
    engine, _ = counting(nano_dir, stops)
    request = Request.about(frames[0], PRESETS[1].prompt, 40)
    expected = ids_of(counting(nano_dir, stops)[0], request)
    for tokens in range(1, 4):
        stream = generate_ids(engine, request)
        for _ in range(tokens):
            next(stream)
        stream.close()
    assert ids_of(engine, request) == expected


def test_least_recently_used_frames_are_evicted() -> None:
    cache = FrameCache(max_bytes=100)
    for name in (b"a", b"b", b"c"):
        cache.put(name, EncodedFrame([Sized(10)], Sized(25), ()))
    assert cache.get(b"a") is None
    assert cache.get(b"b") is not None
    # b was used last, so c is evicted.
    cache.put(b"d", EncodedFrame([Sized(40)]))
    assert (cache.get(b"b") is None, cache.get(b"c") is None) == (False, True)
    assert cache.nbytes <= 100


def test_too_large_frame_is_not_cached() -> None:
    cache = FrameCache(max_bytes=100)
    cache.put(b"a", EncodedFrame([Sized(101)]))
    assert (cache.get(b"a"), cache.nbytes) == (None, 0)


def test_known_tokens_leave_at_least_one_to_feed() -> None:
    frame = EncodedFrame([], Sized(1, 4), (1, 2, 3, 4))
    assert frame.known_tokens((1, 2, 3, 4)) == 3
    assert frame.known_tokens((1, 2, 3, 4, 5, 6)) == 4
    assert frame.known_tokens((1, 9, 3)) == 1
    assert EncodedFrame([]).known_tokens((1, 2)) == 0
