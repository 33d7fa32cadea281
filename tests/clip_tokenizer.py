"""The files of a CLIP tokenizer that knows the letters and some words.

The published vocabulary is not part of this repository.
"""

from __future__ import annotations

import json
import string
from pathlib import Path

LETTERS = string.ascii_lowercase + string.digits + ".'-"


def write_clip_tokenizer(folder: Path, start: int, end: int, words: str, tokens: int) -> None:
    """Write the files into `folder`; texts have at most `tokens`, from the id `start` to `end`."""
    # As published: the end has the largest id, which is where the text model takes its result from.
    vocabulary = {"!": 0, "<|startoftext|>": start, "<|endoftext|>": end}
    for letter in LETTERS:
        for token in (letter, letter + "</w>"):
            vocabulary[token] = len(vocabulary)
    merges = ["#version: 0.2"]
    for word in words.split():
        # All beginnings of the word, each with the next letter.
        letters = [*word[:-1], word[-1] + "</w>"]
        for length in range(1, len(letters)):
            vocabulary.setdefault("".join(letters[: length + 1]), len(vocabulary))
            merges.append(f"{''.join(letters[:length])} {letters[length]}")
    merges = list(dict.fromkeys(merges))
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(merges) + "\n")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": tokens,
        "pad_token": "!",
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
