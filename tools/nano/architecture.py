"""The bundled model's shape: SmolVLM's own classes, tokens and chat template, only very small."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    PreTrainedTokenizerFast,
)

from tools.nano.geometry import (
    FRAME_SIDE_PX,
    IMAGE_TOKENS,
    PATCH_GRID,
    PATCH_PX,
    PIXEL_SHUFFLE,
)
from tools.nano.initialise import initialise_vision

VISION_WIDTH: Final = 160
VISION_LAYERS: Final = 6
VISION_HEADS: Final = 5
TEXT_WIDTH: Final = 192
TEXT_LAYERS: Final = 4
TEXT_HEADS: Final = 6
TEXT_KV_HEADS: Final = 2
VOCABULARY_SIZE: Final = 1024

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
    """A byte-level BPE in SmolVLM's manner, learned from `corpus`.

    Digits stand alone, as in SmolVLM, and so do the letters of upper-case words: words are read
    letter by letter.
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
    """The processor: every frame becomes one square tile, since the model never learned more."""
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
    """The model with fresh weights, in float32."""
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
