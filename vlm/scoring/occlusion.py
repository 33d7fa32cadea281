"""What each word of an answer looked at, estimated by painting over parts of the picture.

For models whose attention is not known: the same question is asked again about copies of the
picture, each with one cell painted over. A word looked at the cells without which it is less likely
(Zeiler and Fergus, 2014, arxiv.org/abs/1311.2901).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from vlm.results import Looks, LookWord, TokenLogprob
from vlm.scoring.looks import core_of
from vlm.scoring.sure import SureWord, sure_of

ROWS: Final = 4
COLUMNS: Final = 4

_WORD: Final = re.compile(r"\S+")
_LEVELS: Final = 255


@dataclass(frozen=True)
class Said:
    """An answer, with its tokens if the server of the model sends them."""

    text: str
    tokens: tuple[TokenLogprob, ...] = ()

    def words(self) -> tuple[SureWord, ...]:
        """Return the words; each has the probability 1 if nothing is known of the tokens."""
        sure = sure_of(self.text, self.tokens, None)
        if sure is not None:
            return sure.words
        return tuple(
            SureWord(found[0], found.start(), found.end(), 1.0, ())
            for found in _WORD.finditer(self.text)
        )


def without_cell(image: Image.Image, cell: int) -> Image.Image:
    """Return a copy of `image` with one of ROWS x COLUMNS cells painted in its mean colour."""
    row, column = divmod(cell, COLUMNS)
    mean = tuple(np.rint(np.asarray(image).mean((0, 1))).astype(int).tolist())
    ends = [
        [round(index * side / count) for index in (at, at + 1)]
        for at, side, count in ((column, image.width, COLUMNS), (row, image.height, ROWS))
    ]
    (x0, x1), (y0, y1) = ends
    painted = image.copy()
    painted.paste(mean, (x0, y0, x1, y1))
    return painted


def estimated(whole: Said, without: Sequence[Said]) -> Looks:
    """Return what the words of `whole` looked at, by the answers `without` each cell, in order."""
    words = whole.words()
    lost = np.zeros((len(words), ROWS * COLUMNS))
    for cell, said in enumerate(without):
        others = said.words()
        for index, word in enumerate(words):
            lost[index, cell] = word.probability - _still(word, others, whole.text, said.text)
    lost = np.maximum(lost, 0)
    most = lost.max(1, keepdims=True, initial=0.0)
    # Less than a hundredth is what a server's own noise makes of it.
    maps = np.where(most > 0.01, lost / np.where(most > 0, most, 1), 0)
    return Looks(
        (ROWS, COLUMNS),
        tuple(
            LookWord(
                word.text,
                word.start,
                word.end,
                word.probability,
                tuple(np.rint(_LEVELS * each).astype(int).tolist()),
            )
            for word, each in zip(words, maps, strict=True)
        ),
        "occlusion",
    )


def _still(word: SureWord, others: Sequence[SureWord], text: str, other: str) -> float:
    """Return how likely `word` of the answer `text` still is in the answer `other`.

    At its own place as long as the answers are the same before it, else anywhere behind.
    """
    name = _name(text, word)
    is_same = other.startswith(text[: word.start])
    for each in others:
        if _name(other, each) == name and (each.start == word.start or not is_same):
            return each.probability
    if is_same:
        for each in others:
            if each.start == word.start:
                found = [one for one in each.alternatives if one.text]
                likely = [one.probability for one in found if name.startswith(one.text.lower())]
                return max(likely, default=0.0)
    return 0.0


def _name(text: str, word: SureWord) -> str:
    """Return the word without the marks around it, in small letters."""
    core = core_of(text, word.start, word.end)
    return word.text.lower() if core is None else text[slice(*core)].lower()
