"""Words and their probabilities from tokens that are parts of words, or of characters."""

from __future__ import annotations

import math

import pytest

from vlm.results import TokenLogprob
from vlm.scoring.sure import sure_of


def token(data: bytes, probability: float = 0.5) -> TokenLogprob:
    return TokenLogprob(data.decode("utf-8", "replace"), data, math.log(probability))


CAFE = "café 🟥!".encode()
CASES: tuple[tuple[str, list[bytes], list[tuple[str, int]]], ...] = (
    # The text, the tokens, and the words with the number of tokens that they consist of.
    ("A red star.", [b" A", b" re", b"d", b" star", b"."], [("A", 1), ("red", 2), ("star.", 2)]),
    ("A red", [b" A", b" red", b" star"], [("A", 1), ("red", 1)]),
    ("a b", [b"a b"], [("a", 1), ("b", 1)]),
    (CAFE.decode(), [CAFE[:4], CAFE[4:7], CAFE[7:9], CAFE[9:]], [("café", 2), ("🟥!", 3)]),
)


@pytest.mark.parametrize(("text", "tokens", "words"), CASES)
def test_words_have_the_probability_of_their_tokens(
    text: str, tokens: list[bytes], words: list[tuple[str, int]]
) -> None:
    sure = sure_of(text, [token(each) for each in tokens], None)
    assert sure is not None and sure.unsure is None
    assert [each.text for each in sure.words] == [name for name, _ in words]
    for each, (_, count) in zip(sure.words, words, strict=True):
        assert text[each.start : each.end] == each.text
        assert each.probability == pytest.approx(0.5**count)


def test_tokens_of_another_text_say_nothing() -> None:
    assert sure_of("A cat.", [token(b" A dog.")], None) is None
    assert sure_of("A cat.", [], None) is None
    assert sure_of("", [token(b" A")], None) is None
