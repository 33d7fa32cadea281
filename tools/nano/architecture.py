"""The bundled model's architecture: SmolVLM's classes, tokens and chat template, very small."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    AttentionInterface,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.masking_utils import AttentionMaskInterface

from tools.nano.truth import (
    FRAME_SIDE_PX,
    IMAGE_TOKENS,
    PATCH_GRID,
    PATCH_PX,
    PIXEL_SHUFFLE,
)

VISION_WIDTH: Final = 160
VISION_LAYERS: Final = 6
VISION_HEADS: Final = 5
TEXT_WIDTH: Final = 192
TEXT_LAYERS: Final = 4
TEXT_HEADS: Final = 6
TEXT_KV_HEADS: Final = 2
VOCABULARY_SIZE: Final = 1024

POSITION_SCALE: Final = 0.2
# Queries and keys share this much of their weights; values and output partly cancel each other.
_SHARED_SCALE: Final = 1.2
_OWN_SHARE: Final = 0.3
_VALUE_SCALE: Final = 0.5
_MATMUL_ATTENTION: Final = "sightline_matmul"

# SmolVLM's chat template, as published (Apache-2.0).
CHAT_TEMPLATE: Final = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_SPECIAL_TOKENS: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
)


def train_tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE like SmolVLM's on `corpus`.

    Each digit is a token, as in SmolVLM, and so is each letter of upper-case words: the model reads
    drawn words letter by letter.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(Regex('(?<=[A-Z"])[A-Z](?=[A-Z"])'), "isolated"),
            pre_tokenizers.Split(Regex("[A-Z](?=[A-Z])|(?<=[A-Z])[A-Z]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        min_frequency=3,
        special_tokens=list(_SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        additional_special_tokens=["<fake_token_around_image>", "<image>", "<end_of_utterance>"],
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
        chat_template=CHAT_TEMPLATE,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> Idefics3Processor:
    """Return a processor that makes each frame one square tile, the only input of the model."""
    image_processor = Idefics3ImageProcessorPil(
        do_image_splitting=False,
        size={"longest_edge": FRAME_SIDE_PX},
        max_image_size={"longest_edge": FRAME_SIDE_PX},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return Idefics3Processor(
        image_processor, tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> Idefics3ForConditionalGeneration:
    """Return the model with initial weights, in float32."""
    special = {name: tokenizer.convert_tokens_to_ids(name) for name in _SPECIAL_TOKENS}
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=TEXT_WIDTH * 8 // 3,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=TEXT_HEADS,
        num_key_value_heads=TEXT_KV_HEADS,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=special["<|im_start|>"],
        eos_token_id=special["<end_of_utterance>"],
        pad_token_id=special["<|im_end|>"],
    )
    config = Idefics3Config(
        vision_config={
            "hidden_size": VISION_WIDTH,
            "intermediate_size": VISION_WIDTH * 4,
            "num_hidden_layers": VISION_LAYERS,
            "num_attention_heads": VISION_HEADS,
            "image_size": FRAME_SIDE_PX,
            "patch_size": PATCH_PX,
        },
        text_config=text.to_dict(),
        scale_factor=PIXEL_SHUFFLE,
        image_token_id=special["<image>"],
        tie_word_embeddings=True,
        pad_token_id=special["<|im_end|>"],
        bos_token_id=special["<|im_start|>"],
        eos_token_id=special["<end_of_utterance>"],
    )
    model = Idefics3ForConditionalGeneration(config)
    initialise_vision(model.model.vision_model, PATCH_GRID)
    return model


def position_embedding(grid: int, width: int) -> Tensor:
    """Return sines and cosines of row and column, (grid * grid, width), as Vaswani et al. (2017).

    The fastest wave nearly alternates between neighbours, the slowest spans the frame.
    """
    waves = torch.logspace(-1, 0.4513, width // 4)
    places = torch.arange(grid, dtype=torch.float32)
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    angles = [axis.reshape(-1, 1) * waves for axis in (columns, rows)]
    return torch.cat([part for angle in angles for part in (angle.cos(), angle.sin())], dim=1)


@torch.no_grad()
def initialise_vision(vision_model: Any, grid: int) -> None:
    """Initialise an Idefics3 vision encoder's positions and attention from torch's generator.

    With random positions and attention a small encoder learns more slowly. The attention follows
    "Mimetic Initialization of Self-Attention Layers" (Trockman and Kolter, 2023): patches attend
    to similar patches, and values times output is near minus the identity.
    """
    positions = vision_model.embeddings.position_embedding.weight
    positions.copy_(position_embedding(grid, positions.shape[1]) * POSITION_SCALE)
    for layer in vision_model.encoder.layers:
        attention = layer.self_attn
        width, head = attention.embed_dim, attention.head_dim
        unit = width**-0.5
        for start in range(0, width, head):
            rows = slice(start, start + head)
            shared = torch.randn(head, width) * unit
            for projection in (attention.q_proj, attention.k_proj):
                own = torch.randn(head, width) * unit
                projection.weight[rows] = (shared + _OWN_SHARE * own) * _SHARED_SCALE
        values = torch.randn(width, width) * unit * _VALUE_SCALE
        attention.v_proj.weight.copy_(values)
        attention.out_proj.weight.copy_(-values.T)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    # Several query heads share a key and a value head.
    shared_by = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(shared_by, dim=1) for part in (key, value))
    scores = torch.matmul(query * scaling, key.transpose(-1, -2))
    if attention_mask is not None:
        # In place: filling a copy takes longer than the matrix product above.
        hidden = torch.zeros_like(attention_mask, dtype=scores.dtype)
        scores += hidden.masked_fill_(~attention_mask, -torch.inf)
    return torch.matmul(torch.softmax(scores, -1), value).transpose(1, 2).contiguous(), None


def _no_mask(*arguments: Any, **options: Any) -> None:
    """Return no mask: training frames fill their square, packed questions have their own mask."""


def use_matmul_attention(model: PreTrainedModel) -> None:
    """Make a model attend by two plain matrix products, for training on a CPU.

    In bfloat16 the CPU's fused attention takes about twice as long in its backward pass, and
    attention was nearly half of a training step. Only for whole frames and explicit masks.
    """
    AttentionInterface.register(_MATMUL_ATTENTION, _attend)
    AttentionMaskInterface.register(_MATMUL_ATTENTION, _no_mask)
    model.set_attn_implementation(_MATMUL_ATTENTION)
