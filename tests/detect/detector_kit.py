"""Checkpoints of OWLv2 and Grounding DINO with random weights, in the files of the published ones.

Their tokenizers know letters only: the published vocabularies are not part of this repository.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clip_tokenizer import LETTERS, write_clip_tokenizer
from vlm.detect.coco import DISPLAY_THRESHOLDS


def make_owlv2(folder: Path, *, exact: bool = False) -> None:
    """Write a small OWLv2 into `folder`, or one of the exact shape of the published base model."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection
    from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

    side_px = 960 if exact else 96
    small: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    small["num_attention_heads"] = 2
    config = Owlv2Config(
        text_config={} if exact else small,
        vision_config={"image_size": side_px} | ({} if exact else small),
        projection_dim=512 if exact else 32,
    )
    _save(Owlv2ForObjectDetection, config, folder)
    Owlv2ImageProcessorPil(size={"height": side_px, "width": side_px}).save_pretrained(folder)
    _name_processor(folder, "Owlv2Processor")
    ids = config.text_config.bos_token_id, config.text_config.eos_token_id
    write_clip_tokenizer(folder, *ids, f"a photo of {' '.join(DISPLAY_THRESHOLDS)}", tokens=16)


def make_grounding_dino(folder: Path, *, exact: bool = False) -> None:
    """Write a small Grounding DINO into `folder`, or one of the exact shape of the tiny model."""
    from transformers import (
        BertConfig,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        SwinConfig,
    )
    from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
        GroundingDinoImageProcessorPil,
    )

    size = {"shortest_edge": 800, "longest_edge": 1333}
    if exact:
        config = GroundingDinoConfig()
    else:
        size = {"shortest_edge": 96, "longest_edge": 160}
        config = GroundingDinoConfig(
            backbone_config=SwinConfig(
                embed_dim=16,
                depths=[1, 1, 1, 1],
                num_heads=[1, 2, 2, 4],
                out_features=["stage2", "stage3", "stage4"],
            ),
            text_config=BertConfig(
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=64,
                vocab_size=400,
            ),
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            num_queries=50,
        )
    _save(GroundingDinoForObjectDetection, config, folder)
    GroundingDinoImageProcessorPil(size=size).save_pretrained(folder)
    _name_processor(folder, "GroundingDinoProcessor")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = dict.fromkeys(" ".join(DISPLAY_THRESHOLDS).split())
    vocabulary = [*special, *LETTERS, *("##" + letter for letter in LETTERS), *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})


def _save(model_class: Any, config: Any, folder: Path) -> None:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = model_class(config)
        # The classes' own random heads are so large that all scores are 0 or 1.
        for weights in model.parameters():
            if weights.dim() > 1:
                torch.nn.init.normal_(weights, std=0.1)
    model.save_pretrained(folder)


def _name_processor(folder: Path, name: str) -> None:
    """Add the key by which transformers finds the processor, as the published files have it."""
    file = folder / "preprocessor_config.json"
    _write_json(file, json.loads(file.read_text()) | {"processor_class": name})


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content))
