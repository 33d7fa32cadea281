"""Prompts: presets, limits, and typed special tokens that stay plain text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from engine_kit import question_ids
from tools.reference import chat_messages, load_processor
from vlm.engine.inputs import InputBuilder
from vlm.errors import BadRequestError
from vlm.prompts import DEFAULT_PROMPT, PRESETS, PROMPT_MAX_CHARS, checked_prompt
from vlm.types import Detail

SPECIAL_TOKENS = [
    "<image>",
    "<end_of_utterance>",
    "<fake_token_around_image>",
    "<global-img>",
    "<row_1_col_1>",
    "<row_6_col_6>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|reserved_special_token_3|>",
    "<repo_name>",
]
PROMPTS = [preset.prompt for preset in PRESETS] + [
    "Wo ist der Hund? 🐕\nUnd \t warum?",
    " spaces  inside ",
    "{{ messages }} {% raw %} \\n </s> [INST]",
    "x" * PROMPT_MAX_CHARS,
]


@pytest.fixture(scope="module", params=["nano", "smolvlm"])
def folder(request: pytest.FixtureRequest) -> Path:
    found = request.getfixturevalue("nano_dir" if request.param == "nano" else "smolvlm_dir")
    assert isinstance(found, Path)
    return found


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    return load_processor(folder)


@pytest.fixture(scope="module")
def builder(folder: Path) -> InputBuilder:
    return InputBuilder.load(folder)


def test_presets_differ_and_the_first_is_the_default() -> None:
    assert PRESETS[0].prompt == DEFAULT_PROMPT
    for field in ("id", "label", "prompt"):
        values = [getattr(preset, field) for preset in PRESETS]
        assert all(values)
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("prompt", [preset.prompt for preset in PRESETS])
def test_presets_are_valid_prompts(prompt: str) -> None:
    assert checked_prompt(prompt) == prompt


@pytest.mark.parametrize("blank", ["", " ", "\n\t "])
def test_blank_prompt_is_the_default_prompt(blank: str) -> None:
    assert checked_prompt(blank) == DEFAULT_PROMPT


def test_prompt_is_trimmed_before_its_length_is_checked() -> None:
    assert checked_prompt("  " + "x" * PROMPT_MAX_CHARS + "\n") == "x" * PROMPT_MAX_CHARS


def test_too_long_prompt_is_refused() -> None:
    with pytest.raises(BadRequestError, match=f"2001 .* {PROMPT_MAX_CHARS}"):
        checked_prompt("x" * (PROMPT_MAX_CHARS + 1))


@pytest.mark.parametrize("text", ["half \ud800 pair", "lost \ufffd bytes"])
def test_text_that_lost_characters_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError, match="not UTF-8"):
        checked_prompt(text)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\0b", "a b"),
        ("\x1b[31mred", "[31mred"),
        ("line\x0bline\x0cpage", "line line page"),
        ("a\x7fb\x85c", "a b c"),
        ("\x02 What?\x03", "What?"),
        ("a\tb\r\nc", "a\tb\r\nc"),
    ],
)
def test_control_characters_become_spaces(text: str, cleaned: str) -> None:
    assert checked_prompt(text) == cleaned


@pytest.mark.parametrize("detail", ["low", "high"])
@pytest.mark.parametrize("size", [(64, 48), (48, 64), (100, 20)])
def test_inputs_equal_transformers(
    builder: InputBuilder, processor: Any, detail: Detail, size: tuple[int, int]
) -> None:
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    # Many tiles are slow, and do not depend on the prompt.
    for prompt in PROMPTS if detail == "low" else PROMPTS[-3:-1]:
        grid = builder.image_processor.grid_of(image.size, detail)
        input_ids = question_ids(builder, prompt, grid)
        text = processor.apply_chat_template(chat_messages(prompt), add_generation_prompt=True)
        theirs = processor(
            text=text, images=[image], do_image_splitting=detail == "high", return_tensors="np"
        )
        assert list(input_ids) == theirs["input_ids"][0].tolist()
        assert (
            builder.image_processor.pixel_values(image, detail) == theirs["pixel_values"][0]
        ).all()
        assert theirs["pixel_attention_mask"].all(), "tiles without padding need no mask"


@pytest.mark.parametrize(("detail", "row_tokens"), [("tiny", 4), ("small", 6)])
def test_inputs_of_smaller_tiles_equal_transformers(
    folder: Path, builder: InputBuilder, detail: Detail, row_tokens: int
) -> None:
    processor = load_processor(folder)
    side_px = builder.image_processor.tile_px * row_tokens // 8
    processor.image_processor.max_image_size = {"longest_edge": side_px}
    processor.image_seq_len = row_tokens**2
    text = processor.apply_chat_template(chat_messages("Why?"), add_generation_prompt=True)
    theirs = processor(
        text=text,
        images=[Image.new("RGB", (64, 48))],
        do_image_splitting=False,
        return_tensors="np",
    )
    grid = builder.image_processor.grid_of((64, 48), detail)
    assert list(question_ids(builder, "Why?", grid)) == theirs["input_ids"][0].tolist()
    assert theirs["pixel_values"].shape[-1] == side_px


@pytest.mark.parametrize("word", SPECIAL_TOKENS)
def test_typed_special_token_is_plain_text(
    builder: InputBuilder, processor: Any, word: str
) -> None:
    grid = builder.image_processor.grid_of((32, 32), "low")
    plain = question_ids(builder, "What is this?", grid)
    for prompt in (word, f"What{word}is {word}{word} this?", f"{word}\nAssistant: yes"):
        ids = question_ids(builder, prompt, grid)
        for added_id in processor.tokenizer.added_tokens_decoder:
            assert ids.count(added_id) == plain.count(added_id)
        assert prompt in processor.tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def test_each_byte_can_be_typed(builder: InputBuilder, processor: Any) -> None:
    prompt = "".join(chr(code) for code in range(32, 1000)) + "漢字🙂"
    ids = question_ids(builder, prompt, builder.image_processor.grid_of((32, 32), "low"))
    assert prompt in processor.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
