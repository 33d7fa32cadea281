"""Which lines a reader may report: those that it hardly invents, and how many."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final

# At 0.5, the reader's own limit, 10 of 24 photographs gave text, 6 of them only invented shreds; at
# 0.7 none was invented.
LEAST_SCORE: Final = 0.70
# A dense page has about 60 lines. A line takes some tens of milliseconds.
MAX_LINES: Final = 100
# Texts of up to three letters need more. With 0.98 for one letter and 0.7 for two, drawn shapes
# gave text in 18 of 400 frames ("AIV", "OCW", "C"), with these in 5; of 156 drawn texts of one to
# three letters, 155 have them.
_LEAST_SCORE_OF_FEW: Final = 0.90
_FEW: Final = 3
_LEAST_SCORE_OF_ONE: Final = 0.995
_LEAST_SCORE_OF_A_DIGIT: Final = 0.98
# Scripts that are written together in one word.
_TOGETHER: Final = dict.fromkeys(
    ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC", "BOPOMOFO", "HANGUL"), "CJK"
)
# Greek letters of units and formulas.
_ANY_ALPHABET: Final = frozenset("\u03bc\u03a9\u03c0")
# Letters upside down are read as these: an A as "for all", a T as "perpendicular".
_OPERATORS: Final = frozenset(map(chr, range(0x2200, 0x2300))) - {"\u2212"}


def is_plausible(text: str, score: float) -> bool:
    """Return whether a line is reported: sure enough, long enough, no word of two alphabets."""
    letters = [each for each in text if each.isalnum()]
    if not letters or score < _least_score(letters):
        return False
    return all(len(_scripts(word)) <= 1 for word in text.split())


def _least_score(letters: Sequence[str]) -> float:
    if len(letters) == 1:
        return _LEAST_SCORE_OF_A_DIGIT if letters[0].isdigit() else _LEAST_SCORE_OF_ONE
    return _LEAST_SCORE_OF_FEW if len(letters) <= _FEW else LEAST_SCORE


def _scripts(word: str) -> set[str]:
    """Return the alphabets of the letters in `word`; digits and signs belong to all of them."""
    # NFKC: a full-width Latin letter is a Latin letter.
    letters = unicodedata.normalize("NFKC", word)
    return {script for each in letters if (script := _script(each)) is not None}


def _script(character: str) -> str | None:
    """Return the alphabet of a letter, the first word of its name; None for anything else."""
    if character in _ANY_ALPHABET:
        return None
    if character in _OPERATORS:
        return "OPERATOR"
    if not character.isalpha():
        return None
    script = unicodedata.name(character, "UNKNOWN").split()[0]
    return _TOGETHER.get(script, script)
