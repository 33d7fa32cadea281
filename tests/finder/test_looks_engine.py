"""Answers that are explained: the words and maps, what they cost, and what has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counting_runtime import counting
from engine_kit import with_task
from tools.nano.scenes import make_frame
from vlm.engine.engine import Engine
from vlm.engine.frame_grid import attention_on_grid, tokens_of_cells
from vlm.engine.inputs import InputBuilder
from vlm.errors import NotSupportedError
from vlm.finder.claims_engine import ClaimsEngine
from vlm.finder.looks_engine import LooksEngine
from vlm.images.frame import Frame
from vlm.processing.image_processor import TileGrid
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import Explained, Looked, Looks, TokenChunk
from vlm.runtimes.openvino.runtime import OpenVinoRuntime
from vlm.scheduler.protocol import never, stream_alone
from vlm.types import Detail, LookTask, Request

LONG = "Describe this image in detail."


def ask(image: Image.Image, prompt: str = DEFAULT_PROMPT, **fields: Any) -> Request:
    return Frame(image).request(prompt, 64, explain=True, **fields)


def run(
    engine: Any, request: Request, is_cancelled: Callable[[], bool] = never
) -> tuple[str, Explained]:
    *chunks, result = stream_alone(engine, engine.begin(request, is_cancelled))
    assert isinstance(result, Explained)
    return "".join(each.text for each in chunks if isinstance(each, TokenChunk)), result


def assert_words(looks: Looks | None, text: str) -> None:
    assert looks is not None
    assert [each.text for each in looks.words] == text.split()
    assert all(text[each.start : each.end] == each.text for each in looks.words)
    assert all(0 < each.probability <= 1 for each in looks.words)
    rows, columns = looks.grid
    for each in looks.words:
        assert len(each.map) == rows * columns
        assert max(each.map) in (0, 255) and min(each.map) >= 0


@pytest.fixture
def scene() -> Image.Image:
    frames = (make_frame(seed, "test", "objects") for seed in range(100))
    return next(each.image for each in frames if len(each.scene.objects) == 3)


def test_an_explained_answer_is_the_same_and_costs_one_pass(
    nano_dir: Path, stops: frozenset[int], scene: Image.Image
) -> None:
    inner, runtime = counting(nano_dir, stops, "nano")
    engine = LooksEngine(ClaimsEngine(inner))
    for prompt in (DEFAULT_PROMPT, LONG, "Is there a star?"):
        plain = inner.run(with_task(ask(scene, prompt), explain=False))
        runtime.prefills = runtime.looked = 0
        text, result = run(engine, ask(scene, prompt))
        assert text == result.text == plain.text
        assert (runtime.prefills, runtime.looked) == (0, 1 + (plain.stats.tokens > 32))
        assert_words(result.looks, text)
    assert runtime.encoded_tiles == 1


def test_a_live_frame_that_was_encoded_in_part_is_explained(
    openvino: OpenVinoRuntime, builder: InputBuilder, stops: frozenset[int], scene: Image.Image
) -> None:
    engine = LooksEngine(Engine(openvino, builder, stops, "nano"))
    other = scene.copy()
    other.paste((255, 255, 255), (0, 0, 24, 24))
    results = []
    for image in (scene, other):
        request = Frame(image, "door").request(DEFAULT_PROMPT, 64, kind="live", explain=True)
        text, result = run(engine, request)
        assert_words(result.looks, text)
        results.append(result)
    assert 0 < results[1].stats.patches < results[0].stats.patches


def test_long_answers_are_looked_at_in_parts(
    engine: Engine, openvino: OpenVinoRuntime, builder: InputBuilder, scene: Image.Image
) -> None:
    text = " ".join(["a red star and a blue ring,"] * 12)
    request = Request(LookTask(ask(scene).answer_task.messages, text))
    whole, other = engine.run(request), Engine(openvino, builder, frozenset(), "nano").run(request)
    assert isinstance(whole, Looked) and isinstance(other, Looked)
    assert len(whole.tokens) > 64 and whole.attention.shape == (len(whole.tokens), 8, 8)
    np.testing.assert_allclose(other.attention, whole.attention, atol=1e-5)
    # The first words looked at the same without those behind them.
    short = engine.run(replace(request, task=LookTask(ask(scene).answer_task.messages, text[:50])))
    assert isinstance(short, Looked)
    np.testing.assert_allclose(short.attention[:10], whole.attention[:10], atol=1e-5)


def test_what_was_cut_or_left_out_is_explained_as_it_was_given(
    nano_dir: Path, stops: frozenset[int], scene: Image.Image
) -> None:
    engine = LooksEngine(ClaimsEngine(counting(nano_dir, stops, "nano")[0]))
    whole, _ = run(engine, ask(scene))
    cut, result = run(engine, with_task(ask(scene), stop=(whole[len(whole) // 2 :],)))
    assert whole.startswith(cut) and cut != whole
    assert_words(result.looks, cut)
    short, result = run(engine, with_task(ask(scene), max_tokens=3))
    assert result.finish_reason == "length"
    assert_words(result.looks, short)
    strict, result = run(engine, ask(scene, claims="strict"))
    assert_words(result.looks, strict)
    cancelled = run(engine, ask(scene), lambda: True)[1]
    assert (cancelled.finish_reason, cancelled.looks) == ("cancelled", None)


def test_a_runtime_without_looks_refuses_before_it_answers(
    nano_dir: Path, scene: Image.Image
) -> None:
    inner, runtime = counting(nano_dir)
    runtime.capabilities = frozenset()
    with pytest.raises(NotSupportedError, match="--device"):
        LooksEngine(inner).begin(ask(scene), never)


@pytest.mark.parametrize("detail", ["tiny", "high"])
def test_the_grid_covers_the_frame(tiled_engine: Engine, detail: Detail) -> None:
    image = Image.effect_noise((400, 200), 90).convert("RGB")
    messages = ask(image).answer_task.messages
    looked = tiled_engine.run(Request(LookTask(messages, "a red star", detail)))
    assert isinstance(looked, Looked)
    assert looked.grid == {"tiny": (4, 4), "high": (8, 16)}[detail]
    assert looked.attention.shape[1:] == looked.grid


def test_tiles_are_put_where_they_were_cut() -> None:
    grid = TileGrid(2, 3, 2)
    tiles = np.zeros((1, 7, 2, 2), np.float32)
    tiles[0, 4, 0, 1] = 1.0
    tiles[0, 6, 0, 0] = 6.0
    cells = attention_on_grid(tiles.reshape(1, -1), grid)
    expected = np.zeros((1, 4, 6))
    expected[0, :2, :3] = 1.0
    expected[0, 2, 3] = 1.0
    np.testing.assert_array_equal(cells, expected)
    # The other way: the token of the tile, and that of the whole image, of which a row has three.
    assert tokens_of_cells([2 * 6 + 3], grid) == [4 * 4 + 1, 6 * 4 + 3]
    assert tokens_of_cells([0, 1, 6], grid) == [0, 1, 2, 6 * 4]
