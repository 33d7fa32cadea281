"""How much memory a model needs at its peak, by what runs it: its weights, its KV cache, the rest.

The factors for a CPU were fitted to peaks of resident memory, mapped files included, which
docs/experiments.md lists. Arithmetic alone: nothing is loaded or asked for here.
"""

from __future__ import annotations

from typing import Final

from vlm.checkpoint_files import ModelSize
from vlm.frame_cache import MAX_CACHED_BYTES
from vlm.runtimes.openvino_precision import Precision

# The longest request: 17 tiles of 81 tokens, as the largest SmolVLM has them, the words between
# them, a prompt of 2000 characters, and an answer of 512 tokens.
LONGEST_REQUEST_TOKENS: Final = 2560

_MB: Final = 10**6
_FLOAT32_BYTES: Final = 4


def kv_bytes(size: ModelSize, bytes_per_number: int, tokens: int = LONGEST_REQUEST_TOKENS) -> int:
    """The keys and values of `tokens`, or of as many as the model has positions for."""
    per_token = 2 * size.layers * size.kv_heads * size.head_dim * bytes_per_number
    return per_token * min(tokens, size.context_tokens)


def openvino_bytes(size: ModelSize, precision: Precision) -> int:
    """What a converted model needs to caption."""
    # The plugin keeps weights twice, as they are stored and as its kernels want them; those of the
    # text model in int8 take more the second time, by how much depends on their shapes.
    vision = 2 if precision.int8_vision else 4 if precision.bfloat16_vision else 8
    text = 2.75 if precision.int8_text else 8
    text_parameters = size.parameters - size.vision_parameters - size.embedding_parameters
    weights = size.vision_parameters * vision + text_parameters * text
    return int(weights) + 2 * kv_bytes(size, _FLOAT32_BYTES) + MAX_CACHED_BYTES + 450 * _MB


def conversion_bytes(size: ModelSize, precision: Precision) -> int:
    """What the converter needs beside the process that waits for it."""
    # Tracing the vision encoder takes several times its weights.
    traced = 6.8 if precision.bfloat16_vision and not precision.int8_vision else 19.7
    return int(size.parameters * 4.7 + size.vision_parameters * traced) + 480 * _MB


def torch_cpu_bytes(size: ModelSize, bytes_per_number: int) -> int:
    """What torch needs to load a model on the CPU and to caption by it."""
    weights = size.parameters * bytes_per_number
    return weights + 2 * kv_bytes(size, bytes_per_number) + MAX_CACHED_BYTES + 400 * _MB
