"""The things that a caption names, and a caption without some of them."""

from __future__ import annotations

import pytest

from vlm.scoring.claims import MAX_CLAIMS, NOTHING_SURE, phrases_of, without

CASES: tuple[tuple[str, list[str]], ...] = (
    (
        "A striped red star, a blue smiling face and an orange left arrow.",
        ["red star", "blue smiling face", "orange left arrow"],
    ),
    ('The word "A GO" in red, a pink ring and a dotted grey cross.', ["pink ring", "grey cross"]),
    (
        "A man dressed in black is riding a brown horse next to a wooden fence.",
        ["man", "brown horse", "wooden fence"],
    ),
    ("A cat sleeping on the couch with two remote controls", ["cat", "couch", "remote controls"]),
    ("There is no dog, but a big red wooden bed.", ["red wooden bed"]),
    ("A black down arrow left of a man up a tree", ["black down arrow", "man", "tree"]),
    ("An empty scene, mostly grey. A group of people in the background.", []),
    ("It is too dark to see.", []),
    ("", []),
)


@pytest.mark.parametrize(("text", "things"), CASES)
def test_things_of_captions(text: str, things: list[str]) -> None:
    phrases = phrases_of(text)
    assert [each.thing for each in phrases] == things
    assert all(text[each.start : each.end] == each.text for each in phrases)
    assert without(text, ()) == (text.strip() or NOTHING_SURE)


def test_a_long_caption_has_a_bounded_number_of_things() -> None:
    assert len(phrases_of(", ".join(["a red star"] * 40))) == MAX_CLAIMS


@pytest.mark.parametrize(
    ("text", "left_out", "rest"),
    [
        ("A red star, a blue ring and a pink cross.", [0], "A blue ring and a pink cross."),
        ("A red star, a blue ring and a pink cross.", [2], "A red star and a blue ring."),
        ("A red star, a blue ring and a pink cross.", [0, 1], "A pink cross."),
        ("A red star.", [0], NOTHING_SURE),
        ("A dog runs. A cat sits on a chair.", [1], "A dog runs."),
        ("A red star and a blue ring! A cat?", [1], "A red star! A cat?"),
    ],
)
def test_what_is_left_out_leaves_whole_sentences(text: str, left_out: list[int], rest: str) -> None:
    phrases = phrases_of(text)
    assert without(text, [phrases[index] for index in left_out]) == rest
