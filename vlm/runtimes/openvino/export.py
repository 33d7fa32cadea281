"""Convert a transformers model to OpenVINO: trace its modules, make the text model stateful.

Call `platform.import_openvino`, which disables telemetry, before this module is imported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
import torch
from openvino._offline_transformations import apply_make_stateful_transformation
from openvino.opset13 import constant

from vlm.runtimes.openvino.cache import (
    EMBEDDINGS_FILE,
    FACTS_FILE,
    TEXT_FILE,
    VISION_FILE,
    seal,
)
from vlm.runtimes.openvino.platform import core
from vlm.runtimes.openvino.weights import quantise_matrices, store_in_bfloat16
from vlm.runtimes.torch.changed_vision import ChangedVision

_EXAMPLE_TOKENS: Final = 4
_EXAMPLE_PAST: Final = 3


class _VisionModel(torch.nn.Module):
    """`ChangedVision` with features in float32."""

    def __init__(self, vision: ChangedVision) -> None:
        super().__init__()
        self._changed = vision

    def forward(
        self, pixel_values: torch.Tensor, changed: torch.Tensor, state: list[torch.Tensor]
    ) -> tuple[torch.Tensor, ...]:
        features, *new_state = self._changed(pixel_values, changed, state)
        return (features.float(), *new_state)


class _Past:
    """The part of `transformers.Cache` that the layers call, over tensors in and out."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._tensors = tensors
        self.presents: list[torch.Tensor] = []

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        pair = self._tensors[2 * layer_idx : 2 * layer_idx + 2]
        keys, values = torch.cat([pair[0], keys], dim=2), torch.cat([pair[1], values], dim=2)
        self.presents += [keys, values]
        return keys, values


class _TextModel(torch.nn.Module):
    """The text model with its head; returns argmax, logits, keys and values."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._text = model.model.text_model
        self._head = model.lm_head

    def forward(
        self,
        embeds: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor,
        wanted: torch.Tensor,
        beams: torch.Tensor,
        past: list[torch.Tensor],
    ) -> tuple[torch.Tensor, ...]:
        """`embeds` [1, new, hidden], `positions` [1, new], `mask` [1, 1, new, past + new].

        `wanted` are the rows to predict after; the head skips the others. `beams` is [0]: the CPU
        plugin recognises attention over a state by that gather only.
        """
        cache = _Past([tensor.index_select(0, beams) for tensor in past])
        rotary = self._text.rotary_emb(embeds, position_ids=positions)
        hidden = embeds
        for layer in self._text.layers:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                position_embeddings=rotary,
            )
        hidden = self._text.norm(hidden.index_select(1, wanted))
        logits = self._head(hidden)
        return (logits.argmax(-1), logits, *cache.presents)


def convert_vision(model: Any, bfloat16: bool) -> Any:
    """Return the vision encoder and connector for one tile of any side, as `ChangedVision`.

    It is stateful. A float32 model could run in bfloat16 too, but would keep its weights in both
    formats.
    """
    config = model.config.vision_config
    vision = ChangedVision(model, torch.bfloat16 if bfloat16 else torch.float32)
    state = vision.new_state(config.image_size)
    pixel_values = torch.zeros(1, 3, config.image_size, config.image_size)
    example = {"pixel_values": pixel_values, "changed": torch.arange(2), "state": state}
    converted = ov.convert_model(_VisionModel(vision), example_input=example)
    shapes = [[1, 3, -1, -1], [-1], *[[1, -1, config.hidden_size]] * len(state)]
    converted.reshape(dict(zip(converted.inputs, shapes, strict=True)))
    for name, model_input in zip(example, converted.inputs[:2], strict=False):
        model_input.get_tensor().set_names({name})
    _make_stateful(converted, converted.inputs[2:], converted.outputs[1:])
    converted.validate_nodes_and_infer_types()
    return converted


def convert_text(model: Any) -> Any:
    """Return the text model, stateful: each pass appends to the KV cache of its request."""
    config = model.config.text_config
    tensors, heads = 2 * config.num_hidden_layers, config.num_key_value_heads
    head_dim = model.model.text_model.layers[0].self_attn.head_dim
    new, past = _EXAMPLE_TOKENS, _EXAMPLE_PAST
    example = {
        "embeds": torch.zeros(1, new, config.hidden_size),
        "positions": torch.arange(past, past + new)[None],
        "mask": torch.ones(1, 1, new, past + new, dtype=torch.bool),
        "wanted": torch.arange(new),
        "beams": torch.zeros(1, dtype=torch.int32),
        "past": [torch.zeros(1, heads, past, head_dim) for _ in range(tensors)],
    }
    converted = ov.convert_model(_TextModel(model), example_input=example)
    shapes = [[1, -1, config.hidden_size], [1, -1], [1, 1, -1, -1], [-1], [1]]
    inputs = converted.inputs
    converted.reshape(
        dict(zip(inputs, [*shapes, *[[1, heads, -1, head_dim]] * tensors], strict=True))
    )
    for name, model_input in zip(example, inputs[: len(shapes)], strict=False):
        model_input.get_tensor().set_names({name})
    _make_stateful(converted, inputs[len(shapes) :], converted.outputs[2:])
    # The plugin recognises attention over a state only if the state has an initial value.
    empty = constant(np.zeros([1, heads, 0, head_dim], np.float32))
    for node in converted.get_ops():
        if node.get_type_name() == "ReadValue":
            node.set_arguments([empty])
    converted.validate_nodes_and_infer_types()
    return converted


def _make_stateful(model: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Let each request of `model` keep each of `outputs` as the next one of `inputs`."""
    pairs = {}
    for index, (past, present) in enumerate(zip(inputs, outputs, strict=True)):
        name = f"past_{index}"
        past.get_tensor().set_names({name})
        present.get_tensor().set_names({f"{name}_present"})
        pairs[name] = f"{name}_present"
    apply_make_stateful_transformation(model, pairs)


def save(
    model: Any,
    out: Path,
    *,
    text_bits: int,
    int8_vision: bool,
    bfloat16_vision: bool,
    report: Callable[[str], None],
) -> None:
    """Write the converted float32 model to the folder `out`; raise OSError if that fails.

    `text_bits` are those of the text model's weights: 32, 8, or 4 with 8 for its head. Weights that
    bfloat16 holds without loss are stored in it, which halves the files.
    """
    report("vision encoder")
    vision = convert_vision(model, bfloat16_vision)
    if int8_vision:
        quantise_matrices(vision)
    store_in_bfloat16(vision)
    _save_model(vision, out / VISION_FILE)
    del vision
    report("text model")
    text = convert_text(model)
    if text_bits < 32:
        quantise_matrices(text, text_bits, model.config.text_config.vocab_size)
    store_in_bfloat16(text)
    _save_model(text, out / TEXT_FILE)
    np.save(out / EMBEDDINGS_FILE, model.get_input_embeddings().weight.numpy())
    config = model.config
    facts = {
        "image_token_id": config.image_token_id,
        "context_tokens": config.text_config.max_position_embeddings,
        "tile_px": config.vision_config.image_size,
        "patch_px": config.vision_config.patch_size,
        "patches_per_token": config.scale_factor,
    }
    (out / FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")
    seal(out)


def _save_model(model: Any, file: Path) -> None:
    # On a full disk OpenVINO raises RuntimeError, sometimes only when the file is read.
    try:
        ov.save_model(model, file, compress_to_fp16=False)
        core().read_model(file)
    except RuntimeError as error:
        raise OSError(f"{file.name} could not be written completely") from error
