"""A frame and a prompt, as the model takes them: pixel values and token ids."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final

from PIL import Image

from vlm.checkpoint_files import IMAGE_PROCESSOR_FILES, read_json
from vlm.errors import BadRequestError, CheckpointError
from vlm.processing.chat_template import ChatTemplate
from vlm.processing.image_processor import ImageProcessor, TileGrid
from vlm.processing.tokenizer import FAKE, IMAGE, Tokenizer
from vlm.prompts import chat_messages
from vlm.runtimes.base import PixelValues
from vlm.types import Detail

# A character that no prompt can hold (see prompts.py) marks where the prompt goes in the template.
_PROMPT_MARK: Final = "\ufffd"
_GLOBAL: Final = "<global-img>"
# What Idefics3Processor has where its file has none.
_DEFAULT_IMAGE_SEQ_LEN: Final = 169
# A page asks the same few questions; each is kept per tile grid.
_CACHED_PROMPTS: Final = 64


class InputBuilder:
    """Does what the checkpoint's Idefics3Processor does, with the same result but less work.

    The prompt is tokenised apart from the template, as plain text: a control word typed into it
    (`<image>`, `<end_of_utterance>`) reaches the model as those characters, never as that token.
    """

    def __init__(
        self,
        image_processor: ImageProcessor,
        tokenizer: Tokenizer,
        chat_template: ChatTemplate,
        image_seq_len: int,
    ) -> None:
        """`image_seq_len` is how many tokens a tile has; raises CheckpointError on an odd template.

        `tokenizer` is also the one to read answers with.
        """
        self._image_processor = image_processor
        self.tokenizer = tokenizer
        self._image_seq_len = image_seq_len
        self.max_side_px = image_processor.tile_px
        self.image_token_id = tokenizer.image_id
        self.vocabulary_size = tokenizer.vocabulary_size
        template = chat_template.render(chat_messages(_PROMPT_MARK))
        head, mark, self._tail = template.partition(_PROMPT_MARK)
        if not mark or head.count(IMAGE) != 1 or IMAGE in self._tail:
            raise CheckpointError(
                "The chat template does not take one image followed by one text, as SmolVLM's does."
            )
        self._before_image, self._after_image = head.split(IMAGE)
        self._ids_of = lru_cache(_CACHED_PROMPTS)(self._tokenise)

    @classmethod
    def load(cls, folder: Path) -> InputBuilder:
        """The one for the checkpoint in `folder`; raises CheckpointError, in words."""
        file = folder / IMAGE_PROCESSOR_FILES[1]
        config = read_json(file) if file.is_file() else {}
        image_seq_len = config.get("image_seq_len", _DEFAULT_IMAGE_SEQ_LEN)
        if not isinstance(image_seq_len, int) or image_seq_len < 1:
            raise CheckpointError(
                f"{file} has image_seq_len {image_seq_len!r}, which must be a whole number above 0."
            )
        tokenizer = Tokenizer.load(folder)
        template = ChatTemplate.load(folder, tokenizer.special_tokens)
        return cls(ImageProcessor.load(folder), tokenizer, template, image_seq_len)

    def grid_of(self, size: tuple[int, int], detail: Detail) -> TileGrid:
        """The tiles of an image of `size`, (width, height), told without a look at its pixels.

        `detail` "low" makes one tile of it, "high" the checkpoint's own tiling.
        """
        return self._image_processor.grid_of(size, detail)

    def image_tokens(self, grid: TileGrid) -> int:
        """How many image tokens the ids of a prompt about an image of `grid` hold."""
        return grid.tiles * self._image_seq_len

    def pixel_values(self, image: Image.Image, detail: Detail) -> PixelValues:
        """`image`, RGB, as [tiles, 3, side, side]; needs no prompt."""
        return self._image_processor.pixel_values(image, detail)

    def prompt_ids(self, prompt: str, grid: TileGrid) -> tuple[int, ...]:
        """The ids of the chat that asks `prompt` about an image of `grid`; needs no image.

        Raises BadRequestError where the tokenizer cannot read `prompt`.
        """
        return self._ids_of(prompt, grid)

    def _tokenise(self, prompt: str, grid: TileGrid) -> tuple[int, ...]:
        head = self._before_image + self._image_text(grid) + self._after_image
        asked = self.tokenizer.encode_typed(prompt)
        if not self.tokenizer.added_ids.isdisjoint(asked):
            raise BadRequestError(
                "The prompt holds a control word or a character that this model cannot take as "
                "text. Put it in other words."
            )
        tail = self.tokenizer.encode(self._tail)
        return (*self.tokenizer.encode(head, begins=True), *asked, *tail)

    def _image_text(self, grid: TileGrid) -> str:
        """What stands for an image in the tiles of `grid` and whole."""
        tile = IMAGE * self._image_seq_len
        whole = f"{FAKE}{_GLOBAL}{tile}{FAKE}"
        if grid.rows == 0:
            return whole
        rows = "".join(
            "".join(
                f"{FAKE}<row_{row}_col_{column}>{tile}" for column in range(1, grid.columns + 1)
            )
            + "\n"
            for row in range(1, grid.rows + 1)
        )
        return f"{rows}\n{whole}"
