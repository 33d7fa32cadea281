"""CLIP and SigLIP, converted, give the vectors of transformers' own classes.

The weights are random, the classes and processors those of the published checkpoints.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from clip_tokenizer import write_clip_tokenizer
from vlm.checkpoints.hub_models import HubModel
from vlm.checkpoints.pairs import HUB_PAIRS
from vlm.errors import CheckpointError, OfflineError, SettingsError
from vlm.pairs.load import load_pair
from vlm.pairs.pair import probabilities
from vlm.pairs.transformers_pairs import TransformersPair, convert

pytest.importorskip("openvino")

CLOSE = 1e-4
SIDE_PX, TOKENS = 64, 16
TEXTS = ("a red star", "blue circle, red square", "x", "star " * 40)
SIZES = ((97, 31), (64, 64), (40, 90))
_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
_VISION = {"image_size": SIDE_PX, "patch_size": 16, **_SMALL}


def make_clip(folder: Path) -> None:
    config = CLIPConfig(
        text_config={"max_position_embeddings": TOKENS, "vocab_size": 49408, **_SMALL},
        vision_config=_VISION,
        projection_dim=24,
    )
    _save(CLIPModel(config), folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": SIDE_PX}, crop_size={"height": SIDE_PX, "width": SIDE_PX}
    ).save_pretrained(folder)
    text = config.text_config
    write_clip_tokenizer(
        folder, text.bos_token_id, text.eos_token_id, "a photo of red star", TOKENS
    )


def make_siglip(folder: Path) -> None:
    letters = {letter: index + 3 for index, letter in enumerate("abcdefghijklmnopqrstuvwxyz ,")}
    vocabulary = {"<pad>": 0, "</s>": 1, "<unk>": 2, **letters}
    text = {"max_position_embeddings": TOKENS, "vocab_size": len(vocabulary), **_SMALL}
    text |= {"pad_token_id": 0, "projection_size": 32}
    _save(SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION)), folder)
    SiglipImageProcessorPil(size={"height": SIDE_PX, "width": SIDE_PX}).save_pretrained(folder)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}
    config |= {"eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _save(model: Any, folder: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for weights in model.parameters():
            if weights.dim() > 1:
                torch.nn.init.normal_(weights, std=0.2)
    model.save_pretrained(folder)


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(request.param)
    (make_clip if request.param == "clip" else make_siglip)(made)
    return made


@pytest.fixture(scope="module")
def pair(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TransformersPair:
    return TransformersPair("small", folder, tmp_path_factory.mktemp("cache"))


def pictures() -> list[Image.Image]:
    noise = np.random.default_rng(3).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return [Image.fromarray(noise).resize(size) for size in SIZES]


def test_vectors_and_probabilities_are_those_of_transformers(
    folder: Path, pair: TransformersPair
) -> None:
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    is_clip = model.config.model_type == "clip"
    processor = (CLIPImageProcessorPil if is_clip else SiglipImageProcessorPil).from_pretrained(
        folder, local_files_only=True
    )
    texts = [f"a photo of a {text}" if is_clip else text for text in TEXTS]
    ids = tokenizer(
        texts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
    )
    if is_clip:
        # Its text model needs the mask only for padding behind the end, which nothing attends to.
        ids = {"input_ids": ids["input_ids"], "attention_mask": ids["attention_mask"]}
    else:
        ids = {"input_ids": ids["input_ids"]}
    pixels = processor(images=pictures(), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = model(pixel_values=pixels, **ids)
    images, of_texts = pair.image_vectors(pictures()), pair.text_vectors(TEXTS)
    assert images.shape == (len(SIZES), pair.width) and of_texts.dtype == np.float32
    np.testing.assert_allclose(images, expected.image_embeds.numpy(), atol=CLOSE)
    np.testing.assert_allclose(of_texts, expected.text_embeds.numpy(), atol=CLOSE)
    logits = expected.logits_per_image
    shares = logits.softmax(-1) if is_clip else logits.sigmoid()
    np.testing.assert_allclose(probabilities(pair, images, of_texts), shares.numpy(), atol=CLOSE)


def test_a_vector_depends_on_nothing_else(pair: TransformersPair) -> None:
    together = pair.text_vectors(TEXTS)
    alone = np.concatenate([pair.text_vectors([text.upper()]) for text in TEXTS])
    np.testing.assert_array_equal(together, alone)
    assert pair.text_vectors([]).shape == pair.image_vectors([]).shape == (0, pair.width)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=CLOSE)


def test_a_second_start_converts_nothing(
    folder: Path, pair: TransformersPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlm.pairs.transformers_pairs.convert", None)
    cache = pair._source.folder.parent
    again = TransformersPair("small", folder, cache)
    np.testing.assert_array_equal(again.text_vectors(TEXTS), pair.text_vectors(TEXTS))


def test_wrong_names_and_damaged_folders_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Choose nano-pair, clip-base"):
        load_pair("other")
    with pytest.raises(OfflineError, match="dual encoder CLIP base is not on this machine"):
        load_pair("clip-base", offline=True)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError):
        convert(tmp_path, tmp_path)
    clip = HUB_PAIRS[0]
    assert isinstance(clip, HubModel)
    with pytest.raises(CheckpointError, match="--pair"):
        clip.kind.check_architecture({"architectures": ["LlavaModel"]}, "config.json")
