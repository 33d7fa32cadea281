"""A frame and a prompt, as the model takes them: pixel values and token ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from PIL import Image

from vlm.errors import BadRequestError, CheckpointError
from vlm.prompts import chat_messages
from vlm.runtimes.base import PixelValues
from vlm.types import Detail

# A character that no prompt can hold (see prompts.py) marks where the prompt goes in the template.
_PROMPT_MARK: Final = "\ufffd"
_IMAGE, _FAKE, _GLOBAL = "<image>", "<fake_token_around_image>", "<global-img>"
# A page asks the same few questions; each is kept per tile grid.
_CACHED_PROMPTS: Final = 64


@dataclass(frozen=True)
class ModelInputs:
    """`pixel_values`: [tiles, 3, side, side]; `image_tokens`: how many of `input_ids` it fills."""

    pixel_values: PixelValues
    input_ids: tuple[int, ...]
    image_tokens: int


class InputBuilder:
    """Does what the checkpoint's Idefics3 processor does, with the same result but less work.

    The prompt is tokenised apart from the template, as plain text: a control word typed into it
    (`<image>`, `<end_of_utterance>`) reaches the model as those characters, never as that token.
    """

    def __init__(self, processor: Any) -> None:
        """`processor` is an Idefics3Processor; raises CheckpointError where its template is odd."""
        self._image_processor = processor.image_processor
        self._tokenizer = processor.tokenizer
        self._image_seq_len: int = processor.image_seq_len
        self.max_side_px: int = self._image_processor.max_image_size["longest_edge"]
        template = processor.apply_chat_template(
            chat_messages(_PROMPT_MARK), add_generation_prompt=True, tokenize=False
        )
        head, mark, self._tail = template.partition(_PROMPT_MARK)
        if not mark or head.count(_IMAGE) != 1 or _IMAGE in self._tail:
            raise CheckpointError(
                "The chat template does not take one image followed by one text, as SmolVLM's does."
            )
        self._before_image, self._after_image = head.split(_IMAGE)
        self._added_ids = frozenset(self._tokenizer.added_tokens_decoder)
        self._ids_of = lru_cache(_CACHED_PROMPTS)(self._tokenise)

    def build(self, image: Image.Image, prompt: str, detail: Detail) -> ModelInputs:
        """`image` is RGB; detail "low" makes one tile of it, "high" the checkpoint's own tiling.

        Raises BadRequestError where the tokenizer cannot read `prompt`.
        """
        pixels = self._image_processor(
            images=[image],
            do_image_splitting=detail == "high",
            return_row_col_info=True,
            return_tensors="np",
        )
        rows, columns = pixels["rows"][0][0], pixels["cols"][0][0]
        pixel_values: PixelValues = pixels["pixel_values"][0]
        return ModelInputs(
            pixel_values,
            self._ids_of(prompt, rows, columns),
            image_tokens=len(pixel_values) * self._image_seq_len,
        )

    def _tokenise(self, prompt: str, rows: int, columns: int) -> tuple[int, ...]:
        head = self._before_image + self._image_text(rows, columns) + self._after_image
        ids = list(self._tokenizer(head)["input_ids"])
        asked = self._tokenizer(prompt, add_special_tokens=False, split_special_tokens=True)
        if not self._added_ids.isdisjoint(asked["input_ids"]):
            raise BadRequestError(
                "The prompt holds a control word or a character that this model cannot take as "
                "text. Put it in other words."
            )
        ids += asked["input_ids"]
        ids += self._tokenizer(self._tail, add_special_tokens=False)["input_ids"]
        return tuple(ids)

    def _image_text(self, rows: int, columns: int) -> str:
        """What stands for an image in `rows` x `columns` tiles and whole (0 x 0: whole only)."""
        tile = _IMAGE * self._image_seq_len
        whole = f"{_FAKE}{_GLOBAL}{tile}{_FAKE}"
        if rows == 0:
            return whole
        grid = "".join(
            "".join(f"{_FAKE}<row_{row}_col_{column}>{tile}" for column in range(1, columns + 1))
            + "\n"
            for row in range(1, rows + 1)
        )
        return f"{grid}\n{whole}"
