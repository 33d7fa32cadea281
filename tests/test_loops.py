"""Loops in a text: found at the third time, however the text arrives, and not in lists."""

from __future__ import annotations

from random import Random

import pytest
from PIL import Image

from engine_kit import with_task
from vlm.loops import LoopGuard, loop_guard
from vlm.types import Request

MAT = "the cat sat on the mat"

# What is shown of each text; the rest is the third time and what follows.
LOOPS = [
    ("A red circle. A red circle.", " A red circle."),
    ("A red circle. A red circle.", " A red circle. A blue star."),
    ("One. A dog! Two. A dog? Three.", " a DOG. Four."),
    ("It is red.\n\nIt is\nred.\n", "\nIt is red.\n"),
    ('"I don\'t know." "I don\u2019t know."', ' "I don\'t know."'),
    ("It is 3.5 m. It is 3.5 m.", " It is 3.5 m."),
    ("Tr\u00e8s bien ! Tr\u00e8s bien !", " Tr\u00e8s bien ! Oui."),
    (f"{MAT} and {MAT} and", f" {MAT} and so on"),
    (f"First {MAT}, then {MAT}, then", f" {MAT}."),
    (f"- {MAT}\n- {MAT}\n", f"- {MAT}\n- {MAT}"),
    ("no " * 11 + "no", " no" * 6),
    (
        "\u4e00\u53ea\u7ea2\u8272\u7684\u732b\u3002" * 2,
        "\u4e00\u53ea\u7ea2\u8272\u7684\u732b\u3002",
    ),
    (
        "\u0905\u091a\u094d\u091b\u093e \u0939\u0948\u0964 " * 2,
        "\u0905\u091a\u094d\u091b\u093e \u0939\u0948\u0964",
    ),
]
NO_LOOPS = [
    "",
    "A red circle. A red circle. A red",
    "A red circle. A red circle and a star. A red circle, and no star.",
    "A red cup, a blue cup, a green cup, a white cup, a black cup and a yellow cup on the table.",
    "1. A red cup\n2. A blue cup\n3. A red cup\n4. A red cup\n5. A green cup",
    " ".join(map(str, range(1, 200))),
    "one two three four five six seven eight nine ten eleven twelve, and then one two three four",
    '{"objects": [{"name": "cup", "color": "red"}, {"name": "cup", "color": "red"}]}',
    "Mr. Lee, Mr. Fox, Mr. Day, Mr. Ray and Mr. Bell. Yes. Yes. Yes. Yes.",
    "At 5.30 and 5.30 and 5.30, e.g. here, e.g. there, e.g. nowhere.",
    f"{MAT} and {MAT} and the dog",
    "https://a.example/b/c/d/e/f https://a.example/b/c/d/e/g https://a.example/b/c/d/e/h",
    "no " * 17,
    "\u662f\u7684\u3002" * 5,
    "\u5de6\u8fb9\u6709\u4e00\u4e2a\u7ea2\u8272\u7684\u5706\u5f62\uff0c\u53f3\u8fb9\u6709\u4e00\u4e2a\u7ea2\u8272\u7684\u65b9\u5f62\uff0c\u4e2d\u95f4\u6709\u4e00\u4e2a\u7ea2\u8272\u7684\u661f\u3002",
    "\U0001f642" * 40,
    "..." * 40,
]  # fmt: skip


def shown(*pieces: str) -> tuple[str, bool]:
    guard = LoopGuard()
    text = "".join(map(guard.add, pieces)) + guard.finish()
    if guard.has_loop:
        assert guard.add("More. ") + guard.finish() == ""
    return text, guard.has_loop


def pieces_of(text: str, chance: Random) -> list[str]:
    pieces = []
    while text:
        size = chance.randint(1, 12)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@pytest.mark.parametrize(("before", "rest"), LOOPS)
def test_text_ends_before_a_sentence_or_six_words_come_for_the_third_time(
    before: str, rest: str
) -> None:
    text, has_loop = shown(before + rest)
    assert has_loop
    assert text == before.rstrip()


@pytest.mark.parametrize("text", NO_LOOPS)
def test_text_without_a_loop_is_whole(text: str) -> None:
    assert shown(text) == (text, False)


def test_text_does_not_depend_on_its_pieces() -> None:
    chance = Random(4)
    parts = ["a", "b", "c", " ", " ", ". ", "\u3002", "\n", "'", '"', "3.5", "(", "\u0301", " ."]
    texts = [before + rest for before, rest in LOOPS] + NO_LOOPS
    for _ in range(300):
        text = "".join(chance.choices(parts, k=chance.randint(1, 90)))
        texts.append(text[: chance.randint(1, 30)] * chance.randint(1, 8) + text)
    loops = 0
    for text in texts:
        expected = shown(text)
        assert text.startswith(expected[0])
        assert shown(*text) == shown(*pieces_of(text, chance)) == expected, text
        loops += expected[1]
    assert 50 < loops < 250


def test_nothing_is_held_back_before_something_has_come_twice() -> None:
    guard = LoopGuard()
    for piece in ("A", " red circle", ".", " ", "A", " red", " circle."):
        assert guard.add(piece) == piece
    # It may begin for the third time, and does not.
    pieces = [" ", "A", " red", " star.", " A", " blue", " ring"]
    assert list(map(guard.add, pieces)) == ["", "", "", "", " A red star.", "", " A blue"]
    assert guard.finish() == " ring"


def test_only_the_option_cuts_and_never_json() -> None:
    request = Request.about(Image.new("RGB", (8, 8)), "What?", 16)
    fields = [{}, {"stop_loops": True}, {"stop_loops": True, "json_object": True}]
    guards = [loop_guard(with_task(request, **each).task) for each in fields]
    assert [guard is not None for guard in guards] == [False, True, False]
