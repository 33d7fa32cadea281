"""Text to token ids and back, as the checkpoint's `tokenizer.json` has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import tokenizers

from vlm.checkpoints.files import TOKENIZER_CONFIG_FILE, TOKENIZER_FILE, read_json
from vlm.errors import CheckpointError

IMAGE: Final = "<image>"
FAKE: Final = "<fake_token_around_image>"
END_OF_UTTERANCE: Final = "<end_of_utterance>"

# Written by older releases of transformers, and trusted where the configuration lacks the key.
_OLDER_NAMES_FILE: Final = "special_tokens_map.json"
_ADDED_KEY: Final = "added_tokens_decoder"
_UNNAMED_KEYS: Final = ("additional_special_tokens", "extra_special_tokens")


def _bytes_by_character() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for.

    GPT-2's own table: printable bytes stand for themselves, the others are moved out of the way
    (https://github.com/openai/gpt-2/blob/master/src/encoder.py).
    """
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    moved = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {
        chr(256 + index): byte for index, byte in enumerate(moved)
    }


_BYTE_OF: Final = _bytes_by_character()


class Tokenizer:
    """The tokenizer that transformers' own wrap, with the special tokens that those add to it.

    One thread at a time may call it: whether control words are read as such is a setting in it.
    """

    def __init__(
        self, tokenizer: Any, named: Mapping[str, str], unnamed: Iterable[str] = ()
    ) -> None:
        """`tokenizer` is a `tokenizers.Tokenizer`; special tokens are `named` ("eos_token") or not.

        Raises CheckpointError where it cannot write an image, or ends every text by itself.
        """
        self._tokenizer = tokenizer
        self.special_tokens = dict(named)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        for token in {*named.values(), *unnamed, IMAGE, FAKE, END_OF_UTTERANCE} - self._added():
            # A token that is not in the vocabulary would get an id that the model knows nothing of.
            if self.id_of(token) is not None:
                tokenizer.add_special_tokens([token])
        self.added_ids = frozenset(tokenizer.get_added_tokens_decoder())
        self.vocabulary_size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        self.image_id, _ = (self._required(token) for token in (IMAGE, FAKE))
        if self.encode("a", begins=True)[-1] != self.encode("a")[-1]:
            raise CheckpointError(
                "The tokenizer ends every text with a token of its own, so that no answer could "
                "follow. Choose another --model."
            )

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """The tokenizer of the checkpoint in `folder`; raises CheckpointError."""
        file = folder / TOKENIZER_FILE
        config = read_json(folder / TOKENIZER_CONFIG_FILE)
        if _ADDED_KEY not in config and (folder / _OLDER_NAMES_FILE).is_file():
            config |= read_json(folder / _OLDER_NAMES_FILE)
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises no narrower one
            raise CheckpointError(
                f"{file} is damaged: {error}. Get the whole checkpoint again."
            ) from error
        named = {key: _words(value) for key, value in config.items() if key.endswith("_token")}
        unnamed = [word for key in _UNNAMED_KEYS for word in _words(config.get(key))]
        return cls(tokenizer, {key: words[0] for key, words in named.items() if words}, unnamed)

    @property
    def eos_id(self) -> int | None:
        """The id of the token that ends a text; None where the checkpoint names none."""
        return self.id_of(self.special_tokens.get("eos_token", ""))

    def id_of(self, token: str) -> int | None:
        """The id of one `token`, written as the vocabulary writes it; None where it has none."""
        token_id: int | None = self._tokenizer.token_to_id(token)
        return token_id

    def encode(self, text: str, *, begins: bool = False) -> list[int]:
        """The ids of `text` out of a template, in which control words are those tokens.

        With `begins` it is what a text begins with, before which some tokenizers put a token.
        """
        self._tokenizer.encode_special_tokens = False
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=begins).ids
        return ids

    def encode_typed(self, text: str) -> list[int]:
        """The ids of what a person typed, in which special tokens are but the words they are.

        Added tokens that are not special are still found; those are in `added_ids`.
        """
        self._tokenizer.encode_special_tokens = True
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` without special tokens, and without any clean-up."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def bytes_of(self, token_id: int) -> bytes:
        """What one token stands for in UTF-8; it may be a part of a character."""
        token: str | None = self._tokenizer.id_to_token(token_id)
        if token is None:
            return b""
        if token_id in self.added_ids or not all(each in _BYTE_OF for each in token):
            return token.encode()
        return bytes(_BYTE_OF[each] for each in token)

    def to_json(self) -> str:
        """The whole tokenizer, as `tokenizer.json` holds it."""
        text: str = self._tokenizer.to_str()
        return text

    def _required(self, token: str) -> int:
        token_id = self.id_of(token)
        if token_id is None:
            raise CheckpointError(
                f"The tokenizer has no token {token}, as SmolVLM's has. Choose another --model."
            )
        return token_id

    def _added(self) -> set[str]:
        return {token.content for token in self._tokenizer.get_added_tokens_decoder().values()}


def _words(value: Any) -> list[str]:
    """The tokens in a configuration's value: a word, one with its flags, or several of either."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return _words(value["content"] if "content" in value else list(value.values()))
    return [word for each in value for word in _words(each)] if isinstance(value, list) else []


def stop_ids(folder: Path, tokenizer: Tokenizer) -> frozenset[int]:
    """The ids that end an answer: the generation config's, the tokenizer's and SmolVLM's own."""
    file = folder / "generation_config.json"
    named = read_json(file).get("eos_token_id") if file.is_file() else None
    ids = [*named] if isinstance(named, list) else [named]
    ids += [tokenizer.eos_id, tokenizer.id_of(END_OF_UTTERANCE)]
    return frozenset(each for each in ids if each is not None)
