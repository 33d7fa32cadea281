"""The engine gives the ids of transformers' `generate`, token for token, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from engine_kit import generate_ids
from tools.reference import chat_messages
from vlm.engine.engine import Engine
from vlm.images.decode import decode_image
from vlm.prompts import PRESETS
from vlm.runtimes.torch.eager import load_model
from vlm.types import Detail, Request

HARDLY_DIFFERENT = "answers that hardly differ prove nothing"
FEWEST_DIFFERENT_IDS = 8
PHOTO_COUNT = 20
PROMPTS = (PRESETS[0].prompt, PRESETS[1].prompt, "What is left of the red thing?")


class Reference:
    """transformers as in its documentation: processor, then generate."""

    def __init__(self, folder: Path) -> None:
        from transformers import Idefics3Processor

        self._processor = Idefics3Processor.from_pretrained(folder)
        self._model: Any = load_model(folder, torch.float32, "cpu")

    def ids(self, image: Image.Image, prompt: str, detail: Detail, max_tokens: int) -> list[int]:
        text = self._processor.apply_chat_template(
            chat_messages(prompt), add_generation_prompt=True
        )
        inputs = self._processor(
            text=text, images=[image], do_image_splitting=detail == "high", return_tensors="pt"
        )
        with torch.inference_mode():
            output = self._model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        ids: list[int] = output[0, inputs["input_ids"].shape[1] :].tolist()
        return ids


def our_ids(
    engine: Engine, image: Image.Image, prompt: str, detail: Detail, max_tokens: int
) -> list[int]:
    request = Request.about(image, prompt, max_tokens, detail)
    return list(generate_ids(engine, request))


def assert_identical(
    engine: Engine,
    reference: Reference,
    cases: Sequence[tuple[Image.Image, str]],
    detail: Detail,
    max_tokens: int,
) -> set[int]:
    """Compare ids; return all different ones, to show that the answers differ."""
    different: set[int] = set()
    for index, (image, prompt) in enumerate(cases):
        ours = our_ids(engine, image, prompt, detail, max_tokens)
        theirs = reference.ids(image, prompt, detail, max_tokens)
        assert ours == theirs, f"case {index}: {prompt!r}, {image.size}, detail={detail}"
        different |= set(ours)
    return different


@pytest.fixture(scope="module")
def exact_reference(exact_shape_dir: Path) -> Reference:
    return Reference(exact_shape_dir)


@pytest.fixture(scope="module")
def photos(shared_dir: Path) -> list[Image.Image]:
    """Real photographs at a camera's size."""
    files = sorted((shared_dir / "photos").glob("*.jpg"))[:PHOTO_COUNT]
    photos = [decode_image(file.read_bytes()) for file in files]
    for photo in photos:
        photo.thumbnail((640, 640))
    return photos


@pytest.mark.parametrize("detail", ["low", "high"])
def test_bundled_model_generates_as_transformers(
    nano_dir: Path, engine: Engine, frames: list[Image.Image], detail: Detail
) -> None:
    # Its processor makes one tile for "high" too.
    chosen = frames[:: 4 if detail == "high" else 2]
    cases = [(frame, prompt) for frame in chosen for prompt in PROMPTS]
    different = assert_identical(engine, Reference(nano_dir), cases, detail, max_tokens=24)
    assert len(different) >= FEWEST_DIFFERENT_IDS, HARDLY_DIFFERENT


def test_several_tiles_generate_as_transformers(
    tiled_dir: Path, tiled_engine: Engine, frames: list[Image.Image]
) -> None:
    # This processor makes up to five tiles.
    cases = [(frame, prompt) for frame in frames[::4] for prompt in PROMPTS]
    different = assert_identical(tiled_engine, Reference(tiled_dir), cases, "high", max_tokens=12)
    assert len(different) >= FEWEST_DIFFERENT_IDS, HARDLY_DIFFERENT


def test_shape_of_smolvlm_256m_generates_as_transformers(
    exact_shape_engine: Engine, exact_reference: Reference, photos: list[Image.Image]
) -> None:
    cases = list(zip(photos, PROMPTS, strict=False))
    different = assert_identical(exact_shape_engine, exact_reference, cases, "low", max_tokens=5)
    assert len(different) >= FEWEST_DIFFERENT_IDS, HARDLY_DIFFERENT


@pytest.mark.slow
@pytest.mark.parametrize("detail", ["low", "high"])
def test_all_photos_and_prompts_generate_as_transformers(
    exact_shape_engine: Engine,
    exact_reference: Reference,
    photos: list[Image.Image],
    detail: Detail,
) -> None:
    pictures = photos if detail == "low" else [wide(photo) for photo in photos]
    cases = [(picture, prompt) for picture in pictures for prompt in PROMPTS]
    different = assert_identical(exact_shape_engine, exact_reference, cases, detail, max_tokens=8)
    assert len(different) >= FEWEST_DIFFERENT_IDS, HARDLY_DIFFERENT


def wide(photo: Image.Image) -> Image.Image:
    """Return the middle, four times as wide as high: it makes the fewest tiles, five."""
    height = photo.width // 4
    top = (photo.height - height) // 2
    return photo.crop((0, top, photo.width, top + height))
