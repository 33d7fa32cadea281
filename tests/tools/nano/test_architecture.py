"""The architecture: SmolVLM's tokens and template, attention, initial weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tools.nano.architecture import (
    VOCABULARY_SIZE,
    build_model,
    build_processor,
    position_embedding,
    train_tokenizer,
    use_matmul_attention,
)
from tools.nano.lettering import WORDS
from tools.nano.questions import corpus
from tools.nano.truth import FRAME_SIDE_PX, IMAGE_TOKENS, PATCH_GRID
from tools.reference import chat_messages


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return list(corpus(frames=40))


@pytest.fixture(scope="module")
def fresh_tokenizer(sentences: Sequence[str]) -> Any:
    return train_tokenizer(sentences)


@pytest.fixture(scope="module")
def fresh_model(fresh_tokenizer: Any) -> Any:
    torch.manual_seed(0)
    return build_model(fresh_tokenizer).eval()


def test_tokenizer_decodes_what_it_encodes(fresh_tokenizer: Any, sentences: Sequence[str]) -> None:
    assert len(fresh_tokenizer) <= VOCABULARY_SIZE
    for text in {*sentences, "Größe, 漢字 🙂", "  two  spaces  "}:
        ids = fresh_tokenizer.encode(text, add_special_tokens=False)
        assert fresh_tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_tokenizer_splits_words_into_letters(fresh_tokenizer: Any) -> None:
    for word in (*WORDS, "2048", "7"):
        tokens = fresh_tokenizer.tokenize(f' It says "{word}".')
        assert [token for token in tokens if token in word] == list(word)


def test_tokenizer_training_is_deterministic(
    fresh_tokenizer: Any, sentences: Sequence[str]
) -> None:
    assert train_tokenizer(sentences).get_vocab() == fresh_tokenizer.get_vocab()


def test_processor_makes_one_tile_and_its_image_tokens(
    fresh_tokenizer: Any, fresh_model: Any
) -> None:
    fresh = build_processor(fresh_tokenizer)
    text = fresh.apply_chat_template(
        chat_messages("What is this?"), add_generation_prompt=True, tokenize=False
    )
    inputs = fresh(text=text, images=[torch.zeros(3, 90, 160)], return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 1, 3, FRAME_SIDE_PX, FRAME_SIDE_PX)
    assert (inputs["input_ids"] == fresh_model.config.image_token_id).sum() == IMAGE_TOKENS


@torch.inference_mode()
def test_matmul_attention_equals_fused_attention(fresh_model: Any) -> None:
    changed = copy.deepcopy(fresh_model.model.vision_model)
    use_matmul_attention(changed)
    pixels = torch.rand(2, 3, FRAME_SIDE_PX, FRAME_SIDE_PX) * 2 - 1
    expected = fresh_model.model.vision_model(pixels).last_hidden_state
    torch.testing.assert_close(changed(pixels).last_hidden_state, expected, atol=1e-4, rtol=1e-4)


def test_initial_positions_differ_between_patches(fresh_model: Any) -> None:
    table = position_embedding(PATCH_GRID, 160)
    apart = torch.cdist(table, table) + torch.eye(len(table)) * 1e3
    assert apart.min() > 0.5
    weights = fresh_model.model.vision_model.embeddings.position_embedding.weight
    assert torch.cosine_similarity(weights, table).min() > 0.999


@torch.inference_mode()
def test_initial_features_are_finite_and_differ_between_frames(fresh_model: Any) -> None:
    frames = torch.rand(2, 3, FRAME_SIDE_PX, FRAME_SIDE_PX) * 2 - 1
    features = fresh_model.model.vision_model(frames).last_hidden_state
    assert features.isfinite().all()
    assert (features[0] - features[1]).abs().mean() > 0.01
