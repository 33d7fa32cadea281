"""From a chat of texts and images to the model's token ids."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

from vlm.errors import BadRequestError, CheckpointError
from vlm.processing.chat_template import ChatTemplate
from vlm.processing.image_processor import ImageProcessor, TileGrid
from vlm.processing.tokenizer import FAKE, IMAGE, Tokenizer
from vlm.types import PromptEnd, Role

# Marks the place of a text in the template; no text can hold it (see prompts.py).
_TEXT_MARK: Final = "\ufffd"
_PLACES: Final = re.compile(f"({_TEXT_MARK}|{re.escape(IMAGE)})")
_GLOBAL: Final = "<global-img>"
# A page sends the same few questions; each is cached for each tile grid.
_CACHED_CHATS: Final = 64

_NO_PLACE: Final = (
    "This model's chat template has no place for a chat of this form. Put all of it into one user "
    "message: the image first, then the text."
)

# One message: its texts, and for each image how it is cut into tiles, in order.
Turn: TypeAlias = tuple[Role, tuple[str | TileGrid, ...]]


class InputBuilder:
    """Returns the same ids as the checkpoint's Idefics3Processor, with less work.

    Texts are tokenised apart from the template, as plain text: a control word in a text (`<image>`,
    `<end_of_utterance>`) reaches the model as those characters, never as that token.
    """

    def __init__(
        self,
        image_processor: ImageProcessor,
        tokenizer: Tokenizer,
        chat_template: ChatTemplate,
    ) -> None:
        """`tokenizer` decodes answers, too.

        Raise CheckpointError if the template does not take an image and a text.
        """
        self.image_processor = image_processor
        self.tokenizer = tokenizer
        self.max_side_px = image_processor.tile_px
        self.image_token_id = tokenizer.image_id
        self.vocabulary_size = tokenizer.vocabulary_size
        self._template = chat_template
        self.chat_template_source = chat_template.source
        self._ids_of = lru_cache(_CACHED_CHATS)(self._tokenise)
        try:
            self._pieces((("user", (TileGrid(0, 0, 1), "")),))
        except BadRequestError as error:
            raise CheckpointError(
                "The chat template does not take one image followed by one text, as SmolVLM's does."
            ) from error

    @classmethod
    def load(cls, folder: Path) -> InputBuilder:
        """Load the processor files of the checkpoint in `folder`; raise CheckpointError."""
        tokenizer = Tokenizer.load(folder)
        template = ChatTemplate.load(folder, tokenizer.special_tokens)
        return cls(ImageProcessor.load(folder), tokenizer, template)

    def chat_ids(
        self,
        turns: Sequence[Turn],
        context_tokens: int = sys.maxsize,
        end: PromptEnd = "generation_prompt",
    ) -> tuple[int, ...]:
        """Return the ids of a chat up to where its answer begins, fewer than `context_tokens`.

        Raise BadRequestError if there are more, if the tokenizer cannot encode a text, or if the
        checkpoint's template has no place for a part of the chat.
        """
        return self._ids_of(tuple(turns), context_tokens, end)

    def answer_ids(self, text: str) -> tuple[int, ...]:
        """Return the ids of `text` as the whole of an answer, without its end.

        Raise BadRequestError if the tokenizer cannot encode it.
        """
        return tuple(self._typed_ids(f" {text}"))

    def _tokenise(
        self, turns: tuple[Turn, ...], context_tokens: int, end: PromptEnd
    ) -> tuple[int, ...]:
        ids: list[int] = []
        literal = typed = ""
        for piece in self._pieces(turns, end):
            if not isinstance(piece, _Typed):
                literal += piece
                continue
            # A word is tokenised together with the blank before it.
            words = literal.rstrip(" ")
            if words or not ids:
                ids += self._typed_ids(typed) + self.tokenizer.encode(words, begins=not ids)
                typed = ""
            typed += literal[len(words) :] + piece.text
            literal = ""
        ids += self._typed_ids(typed)
        ids += self.tokenizer.encode(literal, begins=not ids)
        if len(ids) >= context_tokens:
            # An error is not cached, and such a chat would take megabytes.
            raise BadRequestError(
                f"The prompt and the image have {len(ids)} tokens; this model has room for "
                f"{context_tokens - 1}. Make the prompt shorter."
            )
        return tuple(ids)

    def _typed_ids(self, text: str) -> list[int]:
        ids = self.tokenizer.encode_typed(text)
        if not self.tokenizer.added_ids.isdisjoint(ids):
            raise BadRequestError(
                "The prompt holds a control word or a character that this model cannot take as "
                "text. Put it in other words."
            )
        return ids

    def _pieces(
        self, turns: tuple[Turn, ...], end: PromptEnd = "generation_prompt"
    ) -> list[str | _Typed]:
        """Return the rendered chat: the template's text, and the texts and images in between."""
        chat = [part for _, parts in turns for part in parts]
        try:
            text = self._template.render(
                [_message(*turn) for turn in turns], end == "generation_prompt"
            )
        except CheckpointError as error:
            raise BadRequestError(_NO_PLACE) from error
        written = _PLACES.split(text)
        places = [_TEXT_MARK if isinstance(part, str) else IMAGE for part in chat]
        # After the split, every other piece is a place.
        if written[1::2] != places:
            raise BadRequestError(_NO_PLACE)
        pieces: list[str | _Typed] = [written[0]]
        for part, after in zip(chat, written[2::2], strict=True):
            pieces += [_Typed(part) if isinstance(part, str) else self._image_text(part), after]
        if end != "final_text":
            return pieces
        if not chat or not isinstance(chat[-1], str):
            raise BadRequestError("The last message must end with a text, to be continued.")
        # Without the end of the message.
        return pieces[:-1]

    def _image_text(self, grid: TileGrid) -> str:
        """Return the text that stands for an image in the tiles of `grid`, and whole."""
        tile = IMAGE * grid.tile_tokens
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


@dataclass(frozen=True)
class _Typed:
    """A text of the chat, not of the template."""

    text: str


def _message(role: Role, parts: Sequence[str | TileGrid]) -> dict[str, object]:
    """Return one turn in the form that chat templates take, marks in place of its texts."""
    text, image = {"type": "text", "text": _TEXT_MARK}, {"type": "image"}
    return {"role": role, "content": [text if isinstance(part, str) else image for part in parts]}
