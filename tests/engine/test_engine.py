"""The engine: streamed text, ends of answers, cancellation, stats, errors."""

from __future__ import annotations

import json
from pathlib import Path

import accelerate
import pytest
import torch
from PIL import Image

from checkpoint_copy import copy_checkpoint
from counting_runtime import counting
from engine_kit import generate_ids, with_task
from tools.reference import load_processor
from vlm.engine.engine import Engine
from vlm.engine.inputs import InputBuilder
from vlm.errors import BadRequestError
from vlm.models.loading import load_engine
from vlm.processing.tokenizer import stop_ids
from vlm.prompts import DEFAULT_PROMPT, PROMPT_MAX_CHARS
from vlm.results import Result, Stats, StreamEvent, TokenChunk
from vlm.runtimes.torch.eager import TorchRuntime, load_model
from vlm.settings import Settings
from vlm.types import Detail, Request

QUESTION = "What is this?"


def answer(
    engine: Engine,
    image: Image.Image,
    prompt: str = QUESTION,
    max_tokens: int = 12,
    detail: Detail = "low",
) -> tuple[list[TokenChunk], Result]:
    items = list(engine.stream(Request.about(image, prompt, max_tokens, detail)))
    *chunks, done = items
    assert isinstance(done, Result)
    return [chunk for chunk in chunks if isinstance(chunk, TokenChunk)], done


def ids_of(engine: Engine, image: Image.Image, max_tokens: int) -> list[int]:
    request = Request.about(image, QUESTION, max_tokens)
    return list(generate_ids(engine, request, draft=()))


def test_chunks_concatenate_to_the_final_text(engine: Engine, frames: list[Image.Image]) -> None:
    for frame in frames[:5]:
        chunks, done = answer(engine, frame, DEFAULT_PROMPT, 40)
        assert all(chunk.text for chunk in chunks)
        assert "".join(chunk.text for chunk in chunks) == done.text
        assert done.text == done.text.lstrip()
        assert "\ufffd" not in done.text


@pytest.mark.parametrize("max_tokens", [1, 2, 7])
def test_max_tokens_bounds_the_answer(
    endless_engine: Engine, frames: list[Image.Image], max_tokens: int
) -> None:
    _, done = answer(endless_engine, frames[0], max_tokens=max_tokens)
    assert (done.stats.tokens, done.finish_reason) == (max_tokens, "length")


def test_end_token_ends_the_text_and_is_not_shown(
    nano_dir: Path, endless_engine: Engine, frames: list[Image.Image]
) -> None:
    ids = ids_of(endless_engine, frames[0], 12)
    end = ids[-1]
    before = ids[: ids.index(end)]
    engine, runtime = counting(nano_dir, frozenset({end}))
    _, done = answer(engine, frames[0], max_tokens=12)
    assert done.finish_reason == "stop"
    assert done.stats.tokens == len(before) == runtime.decodes
    expected = load_processor(nano_dir).tokenizer.decode(before, skip_special_tokens=True)
    assert done.text == expected.strip("\n ")


def test_answer_can_be_empty(
    nano_dir: Path, endless_engine: Engine, frames: list[Image.Image]
) -> None:
    first = ids_of(endless_engine, frames[0], 1)
    engine, runtime = counting(nano_dir, frozenset(first))
    chunks, done = answer(engine, frames[0])
    assert (chunks, done.text, done.finish_reason) == ([], "", "stop")
    assert (done.stats.tokens, done.stats.tokens_per_s, runtime.decodes) == (0, 0.0, 0)
    assert done.stats.ttft_s > 0


def test_answer_that_repeats_itself_is_cut(
    endless_engine: Engine, frames: list[Image.Image]
) -> None:
    for frame in frames[:2]:
        request = Request.about(frame, DEFAULT_PROMPT, 150)
        whole = endless_engine.run(request)
        *chunks, done = endless_engine.stream(with_task(request, stop_loops=True))
        assert isinstance(done, Result)
        assert (whole.finish_reason, done.finish_reason) == ("length", "loop")
        assert whole.text.startswith(done.text)
        assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TokenChunk)) == done.text
        assert len(done.text) < len(whole.text) and done.stats.tokens < whole.stats.tokens


def test_closing_the_stream_stops_within_one_token(
    nano_dir: Path, frames: list[Image.Image]
) -> None:
    engine, runtime = counting(nano_dir)
    stream = engine.stream(Request.about(frames[0], QUESTION, 40))
    next(stream)
    decodes = runtime.decodes
    stream.close()
    assert runtime.decodes == decodes
    assert list(stream) == []


def test_cancelling_stops_within_one_token(nano_dir: Path, frames: list[Image.Image]) -> None:
    engine, runtime = counting(nano_dir)
    request = Request.about(frames[0], QUESTION, 40)
    items: list[StreamEvent] = list(engine.stream(request, lambda: runtime.decodes >= 5))
    assert isinstance(items[-1], Result)
    assert items[-1].finish_reason == "cancelled"
    assert (items[-1].stats.tokens, runtime.decodes) == (6, 5)


def test_cancelling_stops_between_tiles(tiled_dir: Path, frames: list[Image.Image]) -> None:
    engine, runtime = counting(tiled_dir)
    request = Request.about(frames[0], QUESTION, 4, "high")
    assert engine.prepare(request).image_tokens > 3 * load_processor(tiled_dir).image_seq_len
    (done,) = engine.stream(request, lambda: runtime.encoded_tiles >= 2)
    assert isinstance(done, Result)
    assert (runtime.encoded_tiles, runtime.prefills) == (2, 0)
    assert (done.finish_reason, done.text, done.stats.tokens) == ("cancelled", "", 0)
    assert done.stats.ttft_s == 0.0


def test_abandoned_stream_does_not_change_other_answers(
    endless_engine: Engine, frames: list[Image.Image]
) -> None:
    _, before = answer(endless_engine, frames[1])
    abandoned = endless_engine.stream(Request.about(frames[0], QUESTION, 40))
    next(abandoned)
    _, meanwhile = answer(endless_engine, frames[1])
    abandoned.close()
    _, after = answer(endless_engine, frames[1])
    assert before.text == meanwhile.text == after.text


def test_out_of_memory_fails_one_request_only(nano_dir: Path, frames: list[Image.Image]) -> None:
    engine, runtime = counting(nano_dir)
    expected = answer(counting(nano_dir)[0], frames[0])[1].text
    runtime.decodes_before_failure = 3
    with pytest.raises(MemoryError):
        answer(engine, frames[0])
    assert answer(engine, frames[0])[1].text == expected


def test_decode_steps_feed_one_token(nano_dir: Path, frames: list[Image.Image]) -> None:
    model = load_model(nano_dir, torch.float32, "cpu")
    lengths: list[int] = []
    first_layer = model.model.text_model.layers[0]
    first_layer.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    runtime = TorchRuntime(model, torch.device("cpu"))
    engine = Engine(runtime, InputBuilder.load(nano_dir), frozenset(), "hooked")
    _, done = answer(engine, frames[0], max_tokens=6)
    assert lengths == [done.stats.prompt_tokens, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("detail", ["low", "high"])
def test_stats_equal_the_passes_of_the_runtime(
    tiled_dir: Path, frames: list[Image.Image], detail: Detail
) -> None:
    engine, runtime = counting(tiled_dir)
    inputs = engine.prepare(Request.about(frames[0], QUESTION, 6, detail))
    _, done = answer(engine, frames[0], max_tokens=6, detail=detail)
    stats = done.stats
    assert isinstance(stats, Stats)
    assert stats.prompt_tokens == len(inputs.input_ids) > stats.image_tokens
    assert stats.image_tokens == runtime.encoded_tiles * load_processor(tiled_dir).image_seq_len
    assert (runtime.encoded_tiles == 1) == (detail == "low")
    assert (stats.tokens, runtime.decodes, runtime.prefills) == (6, 5, 1)
    assert 0 < stats.ttft_s < stats.total_s
    assert stats.tokens_per_s == stats.tokens / stats.total_s
    assert (stats.drafted, stats.accepted, stats.queued_s) == (0, 0, 0.0)


def test_answer_ends_at_the_context_limit(
    nano_dir: Path, tmp_path: Path, frames: list[Image.Image]
) -> None:
    config = json.loads((nano_dir / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 100
    folder = copy_checkpoint(nano_dir, tmp_path / "short", {"config.json": json.dumps(config)})
    engine, _ = counting(folder)
    _, done = answer(engine, frames[0], max_tokens=512)
    assert done.finish_reason == "length"
    assert done.stats.prompt_tokens + done.stats.tokens == 100
    with pytest.raises(BadRequestError, match="room for 99"):
        answer(engine, frames[0], prompt="why " * 40)


def test_blank_prompt_is_the_default_prompt(engine: Engine, frames: list[Image.Image]) -> None:
    assert (
        answer(engine, frames[0], "  ")[1].text == answer(engine, frames[0], DEFAULT_PROMPT)[1].text
    )


@pytest.mark.parametrize(
    ("prompt", "max_tokens"), [("x" * (PROMPT_MAX_CHARS + 1), 5), (QUESTION, 0), (QUESTION, -1)]
)
def test_invalid_requests_are_refused(
    engine: Engine, frames: list[Image.Image], prompt: str, max_tokens: int
) -> None:
    with pytest.raises(BadRequestError):
        answer(engine, frames[0], prompt, max_tokens)


@pytest.mark.parametrize("detail", ["low", "high"])
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (2048, 3), (3, 2048), (2048, 2048)])
def test_frames_of_extreme_sizes_are_captioned(
    tiled_engine: Engine, size: tuple[int, int], detail: Detail
) -> None:
    _, done = answer(
        tiled_engine, Image.new("RGB", size, (200, 30, 30)), max_tokens=2, detail=detail
    )
    assert done.stats.tokens <= 2


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_captions(frames: list[Image.Image], dtype: str) -> None:
    engine = load_engine(Settings(model="nano", device="cpu", runtime="torch", dtype=dtype))
    assert engine.info.dtype == dtype
    assert answer(engine, frames[0])[1].stats.tokens > 0


def test_model_spread_over_devices_gives_the_same_ids(
    nano_dir: Path, engine: Engine, frames: list[Image.Image]
) -> None:
    model = load_model(nano_dir, torch.float32, "cpu")
    accelerate.cpu_offload(model, torch.device("cpu"))
    assert model.device == torch.device("meta"), "accelerate loads the weights on demand"
    inputs = InputBuilder.load(nano_dir)
    spread = Engine(
        TorchRuntime(model, torch.device("cpu")),
        inputs,
        stop_ids(nano_dir, inputs.tokenizer),
        "spread",
    )
    for frame in frames[:3]:
        assert ids_of(spread, frame, 8) == ids_of(engine, frame, 8)


def test_info_describes_the_loaded_model(engine: Engine, nano_dir: Path) -> None:
    info = engine.info
    assert (info.model, info.runtime) == ("nano", "torch")
    assert (info.device, info.dtype) == ("cpu", "float32")
    processor = json.loads((nano_dir / "processor_config.json").read_text())
    assert info.frame_size_px == processor["image_processor"]["max_image_size"]["longest_edge"]


def test_info_names_a_folder_without_its_path(tiled_engine: Engine, tiled_dir: Path) -> None:
    assert tiled_engine.info.model == tiled_dir.name
