"""Feeding only what changed of a camera's prompt: laws of the pass, and of the choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tools.nano.scenes import make_frame
from vlm.engine.engine import Engine
from vlm.engine.inputs import InputBuilder
from vlm.engine.prompt_reuse import FedPrompt
from vlm.processing.image_processor import TileGrid
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import Result
from vlm.runtimes.openvino.platform import precision_here
from vlm.runtimes.openvino.runtime import OpenVinoRuntime
from vlm.types import Request


@pytest.fixture
def runtime(openvino: OpenVinoRuntime) -> OpenVinoRuntime:
    return openvino


@pytest.fixture(scope="module")
def ids(builder: InputBuilder) -> tuple[int, ...]:
    return builder.chat_ids((("user", (TileGrid(0, 0, 8), DEFAULT_PROMPT)),))


def features_of(runtime: Any, builder: InputBuilder, seed: int) -> Any:
    image = make_frame(seed, "test").image
    return runtime.encode_image(builder.image_processor.pixel_values(image, "low"))


def test_positions_without_gaps_give_the_state_of_a_prefill(
    runtime: OpenVinoRuntime, builder: InputBuilder, ids: tuple[int, ...]
) -> None:
    old, new = (features_of(runtime, builder, seed) for seed in (3, 5))
    first = ids.index(builder.image_token_id)
    kept, _ = runtime.prefill(ids, [old])
    # An answer behind the prompt does not count.
    runtime.verify(kept, [5, 6, 7], 1)
    expected_state, expected = runtime.prefill(ids, [new], 4, want_logits=True)
    positions = np.arange(first, len(ids))
    state, found = runtime.refeed(kept, positions, ids[first:], [new], 4, want_logits=True)
    assert found.ids == expected.ids
    assert found.logits is not None and expected.logits is not None
    assert np.abs(found.logits - expected.logits).max() < 1e-3
    assert state.length == expected_state.length == len(ids)
    for token_id in (9, 10, 11):
        assert runtime.decode(state, token_id).ids == runtime.decode(expected_state, token_id).ids


def test_an_image_that_did_not_change_is_not_fed(
    runtime: OpenVinoRuntime, builder: InputBuilder, ids: tuple[int, ...]
) -> None:
    features = features_of(runtime, builder, 3)
    kept, _ = runtime.prefill(ids, [features])
    fed = FedPrompt(kept, ids, features)
    found = fed.positions_to_feed(ids, features.copy(), builder.image_token_id)
    assert found is not None
    positions, changed = found
    assert not changed.any()
    last_image = max(np.flatnonzero(np.asarray(ids) == builder.image_token_id))
    assert positions.tolist() == [*range(last_image + 1, len(ids))]
    _, expected = runtime.prefill(ids, [features], 1, want_logits=True)
    state, again = runtime.refeed(
        kept, positions, [ids[each] for each in positions], [features[changed]], 1, want_logits=True
    )
    assert again.logits is not None and expected.logits is not None
    assert np.abs(again.logits - expected.logits).max() < 1e-3
    # The guess of a draft is dropped as from any state.
    runtime.verify(state, [5, 6, 7], 3)
    runtime.truncate(state, len(ids))
    assert state.length == len(ids)


def test_a_prompt_is_fed_from_the_first_tile_that_changed(
    tiled_dir: Path, frames: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = OpenVinoRuntime.load(tiled_dir, precision_here("float32", 0), print)
    builder = InputBuilder.load(tiled_dir)
    engine = Engine(runtime, builder, frozenset(), "tiled")
    side_px = 2 * engine.info.frame_size_px
    frame = frames[0].resize((side_px, side_px))
    spotted, mirrored = frame.copy(), ImageOps.mirror(frame)
    # In the last of four tiles; the tile of the whole, behind them, changes too.
    spotted.paste((255, 0, 0), (side_px * 3 // 4, side_px * 3 // 4, side_px, side_px))
    fed: list[int] = []
    refeed = runtime.refeed

    def counted(state: Any, positions: Any, *args: Any, **keywords: Any) -> Any:
        fed.append(len(positions))
        return refeed(state, positions, *args, **keywords)

    monkeypatch.setattr(runtime, "refeed", counted)
    for image in (frame, spotted, frame, mirrored):
        request = Request.about(image, DEFAULT_PROMPT, 12, "high")
        fresh = Engine(runtime, builder, frozenset(), "tiled")
        assert engine.run(request).text == fresh.run(request).text
    ids = np.asarray(engine.prepare(request).input_ids)
    image = np.flatnonzero(ids == builder.image_token_id)
    tile_tokens = builder.image_processor.grid_of(frame.size, "high").tile_tokens
    # A draft is fed behind each prompt.
    rest = [len(ids) - image[index * tile_tokens] for index in (3, 0)]
    assert all(0 <= each - least <= 12 for each, least in zip(fed, rest, strict=True))


def test_what_is_fed(builder: InputBuilder, ids: tuple[int, ...]) -> None:
    image = np.flatnonzero(np.asarray(ids) == builder.image_token_id)
    features = np.zeros((len(image), 4), np.float32)
    fed = FedPrompt(None, ids, features)  # type: ignore[arg-type]
    few, many = features.copy(), features.copy()
    few[[2, 7], 1] = 1
    many[: len(image) // 2 + 1] = 1
    found = fed.positions_to_feed(ids, few, builder.image_token_id)
    assert found is not None
    assert found[0].tolist() == [image[2], image[7], *range(image[-1] + 1, len(ids))]
    assert np.flatnonzero(found[1]).tolist() == [2, 7]
    assert fed.positions_to_feed(ids, many, builder.image_token_id) is None
    assert fed.positions_to_feed((*ids, 5), few, builder.image_token_id) is None


def test_a_still_camera_says_what_it_said(
    runtime: OpenVinoRuntime, builder: InputBuilder, stops: frozenset[int]
) -> None:
    engine = Engine(runtime, builder, stops, "nano")
    exact = Engine(runtime, builder, stops, "nano", is_exact=True)
    scene = make_frame(3, "test").image
    rng = np.random.default_rng(1)
    for _ in range(4):
        noise = rng.normal(0, 3, (scene.height, scene.width, 3))
        frame = Image.fromarray((np.asarray(scene) + noise).clip(0, 255).astype(np.uint8))

        def caption(engine: Engine, frame: Image.Image = frame) -> Result:
            return engine.run(Request.about(frame, DEFAULT_PROMPT, 24, camera="desk", kind="live"))

        assert caption(engine).text == caption(exact).text
