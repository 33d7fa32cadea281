"""From text to token ids and back, by the checkpoint's `tokenizer.json`."""

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

# Written by older releases of transformers; read if the configuration lacks `_ADDED_KEY`.
_OLDER_NAMES_FILE: Final = "special_tokens_map.json"
_ADDED_KEY: Final = "added_tokens_decoder"
_UNNAMED_KEYS: Final = ("additional_special_tokens", "extra_special_tokens")


def _bytes_by_character() -> dict[str, int]:
    """Return the byte of each character of a byte-level vocabulary, by GPT-2's table.

    Printable bytes are their own character, the others are shifted
    (https://github.com/openai/gpt-2/blob/master/src/encoder.py).
    """
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    moved = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {
        chr(256 + index): byte for index, byte in enumerate(moved)
    }


_BYTE_OF: Final = _bytes_by_character()


class Tokenizer:
    """A `tokenizers.Tokenizer` with the special tokens that transformers' wrappers add.

    One thread at a time may call it: `encode` and `encode_typed` change a setting of it.
    """

    def __init__(
        self, tokenizer: Any, named: Mapping[str, str], unnamed: Iterable[str] = ()
    ) -> None:
        """Special tokens are `named` ("eos_token": its text) or not.

        Raise CheckpointError if there is no image token, or each text gets an end token.
        """
        self._tokenizer = tokenizer
        self.special_tokens = dict(named)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        for token in {*named.values(), *unnamed, IMAGE, FAKE, END_OF_UTTERANCE} - self._added():
            # A token that is not in the vocabulary would get an id beyond the model's embeddings.
            if self.id_of(token) is not None:
                tokenizer.add_special_tokens([token])
        self.added_ids = frozenset(tokenizer.get_added_tokens_decoder())
        self.vocabulary_size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        self.image_id = self._required(IMAGE)
        self._required(FAKE)
        if self.encode("a", begins=True)[-1] != self.encode("a")[-1]:
            raise CheckpointError(
                "The tokenizer ends every text with a token of its own, so that no answer could "
                "follow. Choose another --model."
            )

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Load the tokenizer of the checkpoint in `folder`; raise CheckpointError."""
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
        named = {key: _tokens(value) for key, value in config.items() if key.endswith("_token")}
        unnamed = [token for key in _UNNAMED_KEYS for token in _tokens(config.get(key))]
        return cls(tokenizer, {key: found[0] for key, found in named.items() if found}, unnamed)

    @property
    def eos_id(self) -> int | None:
        """The id of the end token; None if the checkpoint names none."""
        return self.id_of(self.special_tokens.get("eos_token", ""))

    def id_of(self, token: str) -> int | None:
        """Return the id of `token`, spelled as in the vocabulary; None if it is not there."""
        token_id: int | None = self._tokenizer.token_to_id(token)
        return token_id

    def encode(self, text: str, *, begins: bool = False) -> list[int]:
        """Return the ids of `text` from a template, in which special tokens are parsed.

        With `begins` the text is the start of a prompt; some tokenizers prepend a token to it.
        """
        self._tokenizer.encode_special_tokens = False
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=begins).ids
        return ids

    def encode_typed(self, text: str) -> list[int]:
        """Return the ids of a user's text, in which special tokens are plain text.

        Added tokens that are not special are still parsed; those are in `added_ids`.
        """
        self._tokenizer.encode_special_tokens = True
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without special tokens, and without any clean-up."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def bytes_of(self, token_id: int) -> bytes:
        """Return the UTF-8 of one token; perhaps only a part of a character."""
        token: str | None = self._tokenizer.id_to_token(token_id)
        if token is None:
            return b""
        if token_id in self.added_ids or not all(character in _BYTE_OF for character in token):
            return token.encode()
        return bytes(_BYTE_OF[character] for character in token)

    def to_json(self) -> str:
        """Return the content of a `tokenizer.json`."""
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


def _tokens(value: Any) -> list[str]:
    """Return the tokens in a configuration's value: text, text with flags, or several of either."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return _tokens(value["content"] if "content" in value else list(value.values()))
    return [token for part in value for token in _tokens(part)] if isinstance(value, list) else []


def stop_ids(folder: Path, tokenizer: Tokenizer) -> frozenset[int]:
    """Return the ids that end an answer: of the generation config, the tokenizer and SmolVLM."""
    file = folder / "generation_config.json"
    named = read_json(file).get("eos_token_id") if file.is_file() else None
    ids = [*named] if isinstance(named, list) else [named]
    ids += [tokenizer.eos_id, tokenizer.id_of(END_OF_UTTERANCE)]
    return frozenset(token_id for token_id in ids if token_id is not None)
