"""Encoding only what changed in a camera's frame: laws of the passes, and of their choice."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine_kit import torch_runtime
from tools.nano.scenes import make_frame
from vlm.engine.engine import Engine
from vlm.engine.inputs import InputBuilder
from vlm.engine.vision_reuse import (
    STATE_LIFETIME_S,
    WHOLE_EVERY_FRAMES,
    WHOLE_EVERY_S,
    VisionReuse,
)
from vlm.processing.image_processor import ImageProcessor
from vlm.processing.patches import Patches
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import Kept, Result
from vlm.runtimes.openvino.runtime import OpenVinoRuntime
from vlm.scheduler.protocol import never
from vlm.types import Detail, Request


def always() -> bool:
    return True


Values = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(params=["torch", "openvino"])
def runtime(request: pytest.FixtureRequest, nano_dir: Path) -> Any:
    if request.param == "torch":
        return torch_runtime(nano_dir)
    return request.getfixturevalue("openvino")


def still(seed: int = 3) -> Image.Image:
    return make_frame(seed, "test").image


def with_spot(image: Image.Image, level: int = 0, size: int = 24) -> Image.Image:
    """Return `image` with a square in a corner."""
    changed = image.copy()
    changed.paste((level, level, level), (0, 0, size, size))
    return changed


def values_of(builder: InputBuilder, image: Image.Image, detail: Detail = "low") -> Values:
    return builder.image_processor.pixel_values(image, detail)


def new_state(runtime: Any) -> Any:
    return runtime.new_vision_state(math.isqrt(runtime.patches) * runtime.patch_px)


# -- passes --


def test_all_patches_give_the_features_of_transformers(
    runtime: Any, builder: InputBuilder, nano_dir: Path
) -> None:
    theirs = torch_runtime(nano_dir)
    # One side twice: what a runtime keeps for whole tiles must not stay that of another side.
    for detail, patches in (("low", 256), ("small", 144), ("tiny", 64), ("small", 144)):
        state = None
        for image in (still(), with_spot(still(), 255)):
            values = values_of(builder, image, detail)  # type: ignore[arg-type]
            expected = np.asarray(theirs.encode_image(values))
            assert len(expected) == patches / 4
            state = state or runtime.new_vision_state(values.shape[-1])
            features = np.asarray(runtime.encode_changed(state, values, np.arange(patches)))
            assert np.abs(features - expected).max() < 1e-3
            assert np.abs(np.asarray(runtime.encode_image(values)) - expected).max() < 1e-3


def test_tokens_of_unchanged_patches_keep_their_features_to_the_bit(
    runtime: Any, builder: InputBuilder
) -> None:
    state, every = new_state(runtime), np.arange(runtime.patches)
    before = np.asarray(runtime.encode_changed(state, values_of(builder, still()), every))
    # Patches of the first token: two of the first row and two of the second.
    side = int(runtime.patches**0.5)
    changed = np.array([0, 1, side, side + 1])
    after = np.asarray(
        runtime.encode_changed(state, values_of(builder, with_spot(still())), changed)
    )
    assert not np.array_equal(after[0], before[0])
    assert np.array_equal(after[1:], before[1:])


def test_states_do_not_mix(runtime: Any, builder: InputBuilder) -> None:
    every, few = np.arange(runtime.patches), np.arange(8)
    one, other = values_of(builder, still(3)), values_of(builder, still(5))
    states = [new_state(runtime) for _ in range(2)]
    alone = [new_state(runtime) for _ in range(2)]
    for state, values in zip(states, (one, other), strict=True):
        runtime.encode_changed(state, values, every)
    for index, values in enumerate((one, other)):
        runtime.encode_changed(alone[index], values, every)
        expected = np.asarray(runtime.encode_changed(alone[index], values, few))
        found = np.asarray(runtime.encode_changed(states[index], values, few))
        assert np.array_equal(found, expected)


# -- what is encoded --


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def reuse_of(runtime: Any, builder: InputBuilder, **fields: Any) -> VisionReuse:
    return VisionReuse(runtime, builder.image_processor, **{"clock": Clock()} | fields)


def run_frame(
    reuse: VisionReuse,
    runtime: Any,
    image: Image.Image,
    camera: str = "a",
    detail: Detail = "low",
) -> int:
    """Encode a frame; return the number of patches."""
    plan = reuse.plan(camera, image, detail)
    assert plan is not None
    features = plan.kept
    if len(plan.changed):
        features = runtime.encode_changed(plan.state, plan.pixel_values, plan.changed)
    assert reuse.keep(plan, features)
    return len(plan.changed)


def noisy(image: Image.Image, seed: int, sigma: float) -> Image.Image:
    """Return `image` with noise of `sigma` levels of 255."""
    noise = np.random.default_rng(seed).normal(0, sigma, (image.height, image.width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def test_what_changed_is_encoded_and_nothing_else(
    openvino: OpenVinoRuntime, builder: InputBuilder
) -> None:
    reuse = reuse_of(openvino, builder)
    frame, spot = still(), with_spot(still())
    other = still(9).resize(frame.size)
    dark = Image.new("RGB", frame.size, (25, 25, 25))
    every = openvino.patches
    frames: list[tuple[str, Image.Image, Callable[[int], bool]]] = [
        ("the first", frame, lambda count: count == every),
        ("the same", frame, lambda count: count == 0),
        ("with noise", noisy(frame, 1, 4), lambda count: count == 0),
        # Up to three by three patches in a corner have changed, and those at most two away.
        ("with a spot", spot, lambda count: 9 <= count <= 25),
        ("with the spot again", spot, lambda count: count == 0),
        ("without it", frame, lambda count: 9 <= count <= 25),
        ("another scene", other, lambda count: count == every),
        ("in the dark, with much noise", noisy(dark, 2, 12), lambda n: n == every),
        ("the same with other noise", noisy(dark, 3, 12), lambda n: n == 0),
    ]
    for name, image, is_right in frames:
        count = run_frame(reuse, openvino, image)
        assert is_right(count), f"{name}: {count} patches"


class LargeModel:
    """The geometry of SmolVLM-2.2B: 27 patches of 14 pixels in a row of 384."""

    patches = 27 * 27
    patch_px = 14
    nbytes = 1

    def new_vision_state(self, side_px: int) -> Any:
        return self


LARGE_PROCESSOR = ImageProcessor(
    {
        "image_processor_type": "Idefics3ImageProcessor",
        "max_image_size": {"longest_edge": 384},
        "size": {"longest_edge": 1536},
    },
    row_tokens=9,
)


def test_patches_need_not_fill_a_tile() -> None:
    reuse = VisionReuse(LargeModel(), LARGE_PROCESSOR, clock=Clock())
    frame = Image.new("RGB", (768, 768))
    changed = frame.copy()
    # The patch of row 2 and column 3.
    changed.paste((255, 255, 255), (84, 56, 112, 84))
    for image in (frame, changed):
        plan = reuse.plan("a", image)
        assert plan is not None
        assert reuse.keep(plan, np.zeros((81, 8), np.float32))
    rows, columns = np.divmod(plan.changed, 27)
    assert {*rows.tolist()} == {0, 1, 2, 3, 4}
    assert {*columns.tolist()} == {1, 2, 3, 4, 5}
    again = reuse.plan("a", changed)
    assert again is not None
    assert len(again.changed) == 0


def test_a_part_of_the_pixels_is_that_of_all_of_them(builder: InputBuilder) -> None:
    rng = np.random.default_rng(5)
    cases: list[tuple[ImageProcessor, Detail, int, int]] = [
        (builder.image_processor, "low", 12, 16),
        (builder.image_processor, "tiny", 12, 8),
        (LARGE_PROCESSOR, "low", 14, 27),
        (LARGE_PROCESSOR, "small", 14, 18),
    ]
    for processor, detail, patch_px, side in cases:
        patches = Patches(processor, detail, patch_px)
        assert patches.side == side
        for size in ((640, 480), (1280, 720), (480, 640), (331, 77), (20, 31)):
            image = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
            whole = processor.pixel_values(image, detail)
            mask = np.zeros((side, side), np.bool_)
            for row, column in ((0, 0), (0, 3), (5, 6), (6, 7), (side - 1, side - 1)):
                mask[row, column] = True
            part = patches.pixel_values(image, mask)
            is_used = np.kron(mask, np.ones((patch_px, patch_px))).astype(bool)
            rows, columns = np.nonzero(is_used)
            difference = np.abs(part - whole)[0, :, rows, columns]
            # Two levels of 255, one for each step: see `resize_piece`.
            assert difference.max() <= 4 / 255 + 1e-6, size
            assert difference.mean() < 1e-4, size
            assert not part[0, :, patch_px * 2, :].any()


def test_a_frame_is_whole_from_time_to_time(
    openvino: OpenVinoRuntime, builder: InputBuilder
) -> None:
    clock = Clock()
    reuse = reuse_of(openvino, builder, clock=clock)
    frame = still()
    counts = [run_frame(reuse, openvino, frame) for _ in range(WHOLE_EVERY_FRAMES + 2)]
    assert [index for index, count in enumerate(counts) if count] == [0, WHOLE_EVERY_FRAMES + 1]
    assert reuse.drift.kept == Kept(0.0, 0, 0)
    clock.now_s = WHOLE_EVERY_S
    assert run_frame(reuse, openvino, frame) == openvino.patches


def test_states_are_bounded_and_end_with_their_camera(
    openvino: OpenVinoRuntime, builder: InputBuilder
) -> None:
    clock = Clock()
    room = new_state(openvino).nbytes * 2
    reuse = reuse_of(openvino, builder, max_bytes=room, clock=clock)
    frame = still()
    for camera in "ab":
        assert run_frame(reuse, openvino, frame, camera) == openvino.patches
    # Both are in use.
    assert reuse.plan("c", frame) is None
    clock.now_s = 9.0
    assert run_frame(reuse, openvino, frame, "b") == 0
    clock.now_s = 11.0
    assert run_frame(reuse, openvino, frame, "c") == openvino.patches
    # "a" was evicted.
    clock.now_s = 22.0
    assert run_frame(reuse, openvino, frame, "c") == 0
    assert run_frame(reuse, openvino, frame, "a") == openvino.patches
    clock.now_s = STATE_LIFETIME_S + 1
    assert run_frame(reuse, openvino, frame, "a") == openvino.patches
    # Of another size.
    assert run_frame(reuse, openvino, frame.reduce(2), "a") == openvino.patches
    # Of another side; its state is smaller.
    assert run_frame(reuse, openvino, frame, "a", "tiny") == openvino.patches / 4
    assert run_frame(reuse, openvino, frame, "a", "tiny") == 0
    assert run_frame(reuse, openvino, frame, "b") == openvino.patches
    assert run_frame(reuse, openvino, frame, "a", "tiny") == 0


def test_a_large_error_lowers_the_threshold_and_ends_it_at_last(
    openvino: OpenVinoRuntime, builder: InputBuilder
) -> None:
    clock = Clock()
    reuse = reuse_of(openvino, builder, clock=clock)
    frame = still()
    run_frame(reuse, openvino, frame)
    for _ in range(3):
        assert reuse.is_on
        clock.now_s += WHOLE_EVERY_S
        plan = reuse.plan("a", frame)
        assert plan is not None
        assert plan.kept is not None
        wrong = replace(plan, kept=-np.asarray(plan.kept))
        features = openvino.encode_changed(plan.state, plan.pixel_values, plan.changed)
        assert reuse.keep(wrong, features)
    assert not reuse.is_on


def test_features_that_are_no_numbers_end_a_state(
    openvino: OpenVinoRuntime, builder: InputBuilder
) -> None:
    reuse = reuse_of(openvino, builder)
    frame = still()
    plan = reuse.plan("a", frame)
    assert plan is not None
    assert not reuse.keep(plan, np.full((64, 192), np.nan, np.float32))
    assert run_frame(reuse, openvino, frame) == openvino.patches


# -- captions --


def caption(engine: Engine, image: Image.Image, **fields: Any) -> Result:
    fields = {"camera": "desk", "kind": "live"} | fields
    return engine.run(Request.about(image, DEFAULT_PROMPT, 24, **fields))


def test_only_live_frames_of_a_camera_are_encoded_in_part(
    openvino: OpenVinoRuntime, builder: InputBuilder, stops: frozenset[int]
) -> None:
    engine = Engine(openvino, builder, stops, "nano")
    every = openvino.patches
    assert caption(engine, still()).stats.patches == every
    assert 0 < caption(engine, with_spot(still())).stats.patches < every / 2
    # A question about the same frame has it encoded whole.
    asked = caption(engine, with_spot(still()), kind="question")
    exact = Engine(openvino, builder, stops, "nano", is_exact=True)
    assert asked.text == caption(exact, with_spot(still())).text
    assert caption(engine, with_spot(still(), 200), camera=None).stats.patches == 0
    assert caption(engine, with_spot(still(), 201), detail="high").stats.patches == 0
    # The state is dropped when the side changes.
    for detail, patches in (("tiny", every / 4), ("low", every), ("small", every * 9 / 16)):
        assert caption(engine, with_spot(still(), 203), detail=detail).stats.patches == patches
        changed = caption(engine, with_spot(still(), 90), detail=detail).stats.patches
        assert 0 < changed < patches
    assert caption(exact, with_spot(still(), 202)).stats.patches == 0


def test_between_captions_a_frame_at_rest_is_encoded_whole(
    openvino: OpenVinoRuntime, builder: InputBuilder, stops: frozenset[int]
) -> None:
    clock = Clock()
    engine = Engine(openvino, builder, stops, "nano")
    engine._model.reuse = reuse_of(openvino, builder, clock=clock)
    exact = Engine(openvino, builder, stops, "nano", is_exact=True)
    caption(engine, still())
    rest_s = engine.rest(never)
    assert rest_s == STATE_LIFETIME_S
    for spot, is_needed, checks in ((0, always, 0), (255, never, 1)):
        frame = with_spot(still(), spot)
        caption(engine, frame)
        # The next caption may come at once.
        rest_s = engine.rest(never)
        assert rest_s is not None
        assert 0 < rest_s < STATE_LIFETIME_S
        clock.now_s += rest_s
        assert engine.rest(is_needed) is not None
        kept = engine._model.reuse.drift.kept
        assert kept is not None
        assert 0 <= kept.error < 0.5
        assert kept.checks == checks
        # As if the frame had been encoded whole from the beginning.
        again = caption(engine, frame)
        assert again.stats.patches == 0
        assert again.text == caption(exact, frame).text
    clock.now_s += STATE_LIFETIME_S
    assert engine.rest(never) is None


def test_without_memory_for_a_state_frames_are_whole(
    openvino: OpenVinoRuntime,
    builder: InputBuilder,
    stops: frozenset[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(side_px: int) -> None:
        raise MemoryError

    engine = Engine(openvino, builder, stops, "nano")
    expected = caption(Engine(openvino, builder, stops, "nano", is_exact=True), still()).text
    monkeypatch.setattr(openvino, "new_vision_state", fail)
    assert caption(engine, still()).text == expected
    assert "no memory" in caplog.text


def test_a_frame_that_is_cancelled_or_fails_leaves_no_state(
    openvino: OpenVinoRuntime,
    builder: InputBuilder,
    stops: frozenset[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(openvino, builder, stops, "nano")
    expected = caption(Engine(openvino, builder, stops, "nano", is_exact=True), still()).text
    real = openvino.encode_changed

    def fail(*given: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(openvino, "encode_changed", fail)
    with pytest.raises(MemoryError):
        caption(engine, still())
    monkeypatch.setattr(openvino, "encode_changed", real)
    job = engine.begin(Request.about(still(), DEFAULT_PROMPT, 24, camera="desk", kind="live"))
    job.start()
    job.close()
    done = caption(engine, still())
    assert (done.text, done.stats.patches) == (expected, openvino.patches)
