"""The text of an answer does not depend on the pieces in which it arrives."""

from __future__ import annotations

import random

from vlm.remote.answer_text import AnswerText

# A text and what passes of it.
TEXTS = {
    "A red circle.": "A red circle.",
    "A red circle.</s>": "A red circle.",
    "A red circle.</s><eos>": "A red circle.",
    "A red circle.<|im_end|>\n<|im_start|>user\nWhat?": "A red circle.",
    "An <s>old</s> tag.": "An <s>old</s> tag.",
    "</s> and <eos> are tokens.": "</s> and <eos> are tokens.",
    "1 < 2 <| 3 and </": "1 < 2 <| 3 and </",
    "[1, 2] </think> [TH": "[1, 2] </think> [TH",
    "<think>Hm.</think>A red circle.": "A red circle.",
    "\n <think>\n</think>\n\n<think>b</think> A red circle.<|eot_id|>": "A red circle.",
    "<thinking>Hm.</thinking>A <think>red</think> circle.": "A <think>red</think> circle.",
    "<think>Hm. </thinking>": "",
    "<thin": "<thin",
    "A red circle. STOP now": "A red circle.",
    "<|end|>": "",
    "": "",
}


def passed(text: str, cuts: list[int]) -> str:
    answer = AnswerText(stops=("STOP",))
    ends = [*cuts, len(text)]
    pieces = [text[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
    return "".join([*map(answer.add, pieces), answer.finish()])


def test_the_same_text_passes_in_any_pieces() -> None:
    pick = random.Random(0)
    for text, expected in TEXTS.items():
        assert passed(text, []) == expected, text
        # White space before a token that ends a turn may have passed already.
        for _ in range(100):
            cuts = sorted(pick.choices(range(len(text) + 1), k=pick.randint(1, 8)))
            assert passed(text, cuts).rstrip() == expected, (text, cuts)
        assert passed(text, list(range(len(text)))).rstrip() == expected, text


def test_a_continued_message_keeps_the_white_space_at_its_start() -> None:
    answer = AnswerText(continues=True)
    assert answer.add("  circle.") + answer.finish() == "  circle."


def test_an_answer_of_a_form_keeps_what_is_within() -> None:
    answer = AnswerText(has_form=True)
    text = '{"text": "<|im_end|> and </s>"}'
    assert answer.add(text) + answer.add(" </s>") + answer.finish() == text


def test_an_answer_that_continues_a_message_does_not_begin_with_thoughts() -> None:
    answer = AnswerText(is_thinking=True, continues=True)
    assert (answer.add(" circle."), answer.is_thinking) == (" circle.", False)


def test_the_time_is_linear_in_marks_and_white_space() -> None:
    for part in (" ", "</s>", "</think>", " </s> ", "<", "\n</think> "):
        answer = AnswerText()
        answer.add("A" + part * 20_000)
        answer.finish()
        answer = AnswerText(is_thinking=True)
        for _ in range(400):
            answer.add(part * 50)
        answer.finish()
