"""The frame cache: a frame is encoded once for all questions; memory is bounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counting_runtime import counting
from engine_kit import generate_ids
from vlm.engine.engine import Engine
from vlm.engine.frame_cache import EncodedFrame, FrameCache
from vlm.prompts import PRESETS
from vlm.results import Embedded
from vlm.types import Detail, EmbedTask, Request


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


def tile_of(image: Image.Image, row: int, column: int, grid: int = 2) -> tuple[int, int, int, int]:
    """Return the middle of a tile of a square `image`, which no other tile of the grid has."""
    side = image.width // grid
    left, top = column * side + side // 4, row * side + side // 4
    return left, top, left + side // 2, top + side // 2


def test_only_tiles_that_changed_are_encoded(tiled_dir: Path, frames: list[Image.Image]) -> None:
    engine, runtime = counting(tiled_dir)
    side_px = 2 * engine.info.frame_size_px
    frame = frames[0].resize((side_px, side_px))
    spotted = frame.copy()
    spotted.paste((255, 0, 0), tile_of(frame, 0, 1))
    spotted_twice = spotted.copy()
    spotted_twice.paste((0, 0, 255), tile_of(frame, 1, 0))
    flat = Image.new("RGB", frame.size, (9, 99, 9))
    # Each change of a tile also changes the tile of the whole.
    for name, image, tiles in (
        ("the first", frame, 5),
        ("the same", frame, 0),
        ("one tile", spotted, 2),
        ("one more", spotted_twice, 2),
        ("both back", frame, 0),
        ("four equal tiles, and the whole like them", flat, 1),
    ):
        before = runtime.encoded_tiles
        request = Request.about(image, PRESETS[0].prompt, 12, "high", camera="desk", kind="live")
        ids = ids_of(engine, request)
        assert runtime.encoded_tiles - before == tiles, name
        assert ids == ids_of(counting(tiled_dir)[0], request), name


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
    cache = FrameCache(max_bytes=75)
    for name in (b"a", b"b", b"c"):
        cache.put(name, EncodedFrame([Sized(10)], Sized(25), ()))
    assert cache.get(b"a") is None
    assert cache.get(b"b") is not None
    # b was used last, so c is evicted.
    cache.put(b"d", EncodedFrame([Sized(40)]))
    assert (cache.get(b"b") is None, cache.get(b"c") is None) == (False, True)
    assert cache.nbytes == 75


def test_too_large_frame_is_not_cached() -> None:
    cache = FrameCache(max_bytes=100)
    cache.put(b"a", EncodedFrame([Sized(101)]))
    assert (cache.get(b"a"), cache.nbytes) == (None, 0)


def test_only_the_newest_frame_keeps_a_large_state() -> None:
    cache = FrameCache(max_bytes=100)
    cache.put(b"a", EncodedFrame([Sized(50)], Sized(90, 4), (1, 2, 3, 4)))
    kept = cache.get(b"a")
    assert kept is not None and kept.state is not None
    cache.put(b"b", EncodedFrame([Sized(40)]))
    assert kept.state is not None
    cache.put(b"b", EncodedFrame([Sized(50)], Sized(90, 4), (1, 2, 3, 4)))
    assert (kept.state, cache.get(b"a") is kept, cache.nbytes) == (None, True, 190)
    cache.put(b"c", EncodedFrame([Sized(50)], Sized(2**28, 4), (1, 2, 3, 4)))
    kept = cache.get(b"c")
    assert kept is not None and kept.state is None


def test_shared_tiles_count_once_and_end_with_their_last_frame() -> None:
    cache = FrameCache(max_bytes=100)
    shared = Sized(40)
    cache.note_tile(b"tile", shared)
    cache.put(b"a", EncodedFrame([shared, Sized(20)]))
    cache.put(b"b", EncodedFrame([shared, Sized(30)]))
    assert cache.nbytes == 90
    del shared
    cache.put(b"c", EncodedFrame([Sized(20)]))
    assert (cache.get(b"a"), cache.tile(b"tile") is None, cache.nbytes) == (None, False, 90)
    cache.put(b"d", EncodedFrame([Sized(90)]))
    assert (cache.tile(b"tile"), cache.nbytes) == (None, 90)


def test_known_tokens_leave_at_least_one_to_feed() -> None:
    frame = EncodedFrame([], Sized(1, 4), (1, 2, 3, 4))
    assert frame.known_tokens((1, 2, 3, 4)) == 3
    assert frame.known_tokens((1, 2, 3, 4, 5, 6)) == 4
    assert frame.known_tokens((1, 9, 3)) == 1
    assert EncodedFrame([]).known_tokens((1, 2)) == 0


@pytest.mark.parametrize("detail", ["low", "high"])
def test_image_tokens_of_a_captioned_frame_need_no_pass(
    tiled_dir: Path, frames: list[Image.Image], detail: Detail
) -> None:
    engine, runtime = counting(tiled_dir)
    engine.run(Request.about(frames[0], PRESETS[0].prompt, 4, detail))
    tiles = runtime.encoded_tiles
    embedded = engine.run(Request(EmbedTask(frames[0], detail)))
    assert isinstance(embedded, Embedded)
    assert runtime.encoded_tiles == tiles
    pixels = engine._model.inputs.image_processor.pixel_values(frames[0], detail)
    expected = [runtime.features_array(runtime.encode_image(tile[None])) for tile in pixels]
    np.testing.assert_array_equal(embedded.features, np.concatenate(expected))
    other = engine.run(Request(EmbedTask(frames[1], detail)))
    assert isinstance(other, Embedded)
    assert other.features.shape == embedded.features.shape
    assert not np.array_equal(other.features, embedded.features)
