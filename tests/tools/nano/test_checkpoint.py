"""The bundled checkpoint: small, data only, loaded by transformers without our code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
)

from tools.nano.architecture import CHAT_TEMPLATE
from tools.nano.truth import FRAME_SIDE_PX, IMAGE_TOKENS
from vlm.checkpoints.files import check_folder, read_json

MAX_BYTES = 12_000_000
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<fake_token_around_image>", "<image>",
    "<end_of_utterance>", "<global-img>", "<row_1_col_1>", "<row_6_col_6>",
)  # fmt: skip


@pytest.fixture(scope="module")
def auto_processor(nano_dir: Path) -> Any:
    return AutoProcessor.from_pretrained(nano_dir, trust_remote_code=False)


@pytest.fixture(scope="module")
def auto_model(nano_dir: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(nano_dir, trust_remote_code=False)


def test_checkpoint_is_small_enough_for_a_repository(nano_dir: Path) -> None:
    assert sum(file.stat().st_size for file in nano_dir.iterdir()) <= MAX_BYTES


def test_checkpoint_is_complete_and_data_only(nano_dir: Path) -> None:
    check_folder(nano_dir)
    assert {file.suffix for file in nano_dir.iterdir()} == {".safetensors", ".json", ".jinja"}
    for file in nano_dir.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert "auto_map" not in text
        assert "sightline" not in text


def test_auto_classes_load_smolvlms_classes(auto_processor: Any, auto_model: Any) -> None:
    assert type(auto_processor) is Idefics3Processor
    assert type(auto_model) is Idefics3ForConditionalGeneration
    assert auto_model.dtype == torch.bfloat16


def test_tokens_roles_and_template_are_smolvlms(auto_processor: Any) -> None:
    tokenizer = auto_processor.tokenizer
    for token in SPECIAL_TOKENS:
        assert len(tokenizer.encode(token, add_special_tokens=False)) == 1
    assert auto_processor.chat_template == CHAT_TEMPLATE
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A star."}]},
        {"role": "user", "content": [{"type": "text", "text": "Is it red?"}]},
    ]
    assert auto_processor.apply_chat_template(messages, add_generation_prompt=True) == (
        "<|im_start|>User:<image>What is this?<end_of_utterance>\n"
        "Assistant: A star.<end_of_utterance>\n"
        "User: Is it red?<end_of_utterance>\n"
        "Assistant:"
    )


def test_template_equals_the_published_one(smolvlm_dir: Path) -> None:
    published = read_json(smolvlm_dir / "chat_template.json")["chat_template"]
    assert published.rstrip() == CHAT_TEMPLATE.rstrip()


@pytest.mark.parametrize("size", [(192, 192), (288, 162), (144, 192), (640, 480)])
def test_each_frame_is_one_tile(
    auto_processor: Any, auto_model: Any, size: tuple[int, int]
) -> None:
    inputs = auto_processor(text="<image>", images=[Image.new("RGB", size)], return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 1, 3, FRAME_SIDE_PX, FRAME_SIDE_PX)
    image_tokens = (inputs["input_ids"] == auto_model.config.image_token_id).sum()
    assert image_tokens == IMAGE_TOKENS == auto_processor.image_seq_len


def test_transformers_generates_and_stops(auto_processor: Any, auto_model: Any) -> None:
    text = "<|im_start|>User:<image>What do you see?<end_of_utterance>\nAssistant:"
    frame = Image.new("RGB", (192, 144), (230, 230, 230))
    inputs = auto_processor(text=text, images=[frame], return_tensors="pt")
    ids = auto_model.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert inputs["input_ids"].shape[1] < ids.shape[1] <= inputs["input_ids"].shape[1] + 4
    assert auto_model.generation_config.eos_token_id == auto_processor.tokenizer.eos_token_id
