"""Streamed text: complete characters only, and equal to the decoder's text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from vlm.engine.drafts import DraftCounts
from vlm.engine.sampling import Token
from vlm.engine.text import AnswerText, Detokenizer
from vlm.loops import LoopGuard
from vlm.processing.tokenizer import Tokenizer
from vlm.results import Result, TokenChunk

TEXTS = [
    " A small white cat on a red sofa.",
    "A",
    "  two  spaces  ",
    "\n\nlines\nand\ttabs\n",
    ' {"objects": ["ball", "cube"], "count": 2}',
    "Größe, déjà vu, naïve, 漢字かな交じり文, עברית, हिन्दी",
    " 🙂👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 done",
    "don't , it 's . A .",
    "",
]


@pytest.fixture(scope="module", params=["nano", "smolvlm"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    folder = request.getfixturevalue("nano_dir" if request.param == "nano" else "smolvlm_dir")
    assert isinstance(folder, Path)
    return Tokenizer.load(folder)


def chunks_of(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer.decode)
    return [*(detokenizer.add(token_id) for token_id in ids), detokenizer.finish()]


@pytest.mark.parametrize("text", TEXTS)
def test_chunks_concatenate_to_the_decoded_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert "".join(chunks_of(tokenizer, ids)) == tokenizer.decode(ids).lstrip() == text.lstrip()


@pytest.mark.parametrize("text", TEXTS)
def test_chunks_hold_complete_characters_only(tokenizer: Tokenizer, text: str) -> None:
    assert not any("\ufffd" in chunk for chunk in chunks_of(tokenizer, tokenizer.encode(text)))


def test_text_is_streamed_without_delay(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("A red ball and a blue cube.")
    chunks = chunks_of(tokenizer, ids)
    assert all(chunks[:-1])
    assert chunks[-1] == ""


def test_incomplete_character_at_the_end_is_dropped(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("A 🙂")
    if tokenizer.decode(ids[:-1]).endswith("🙂"):
        pytest.skip("this tokenizer has no part of that character")
    assert "".join(chunks_of(tokenizer, ids[:-1])).strip() == "A"


def test_special_tokens_are_not_shown(tokenizer: Tokenizer) -> None:
    end = tokenizer.id_of("<end_of_utterance>")
    assert end is not None
    ids = [end, *tokenizer.encode(" A cat"), end, *tokenizer.encode(" sits"), end]
    assert "".join(chunks_of(tokenizer, ids)) == "A cat sits"


def test_random_ids_stream_as_they_decode(tokenizer: Tokenizer) -> None:
    chance = random.Random(3)
    for _ in range(200):
        ids = [chance.randrange(tokenizer.vocabulary_size) for _ in range(chance.randint(1, 30))]
        streamed = "".join(chunks_of(tokenizer, ids))
        whole = tokenizer.decode(ids).lstrip()
        assert streamed.rstrip("\ufffd") == whole.rstrip("\ufffd")


def test_only_the_first_space_is_dropped() -> None:
    pieces = ["▁A", "▁red", "▁ba", "ll", "."]

    def decode(ids: Sequence[int]) -> str:
        return "".join(pieces[i] for i in ids).replace("▁", " ").removeprefix(" ")

    detokenizer = Detokenizer(decode)
    chunks = [detokenizer.add(i) for i in range(len(pieces))] + [detokenizer.finish()]
    assert chunks == ["A", " red", " ba", "ll", ".", ""]


# Stop texts, the token limit (0: none is reached), why it ends, and what is left of the text.
ENDS = [
    ((), 0, "loop", "It is red. It is red."),
    ((" red. It",), 0, "stop", "It is"),
    ((" ends",), 0, "loop", "It is red. It is red."),
    ((), 1, "loop", "It is red. It is red."),
    ((), 2, "length", "It is red. It is red. It is red"),
]


@pytest.mark.parametrize(("stops", "missing", "reason", "expected"), ENDS)
def test_answer_ends_at_the_first_of_end_token_limit_stop_text_and_loop(
    tokenizer: Tokenizer, stops: Sequence[str], missing: int, reason: str, expected: str
) -> None:
    end = tokenizer.id_of("<end_of_utterance>")
    assert end is not None
    ids = tokenizer.encode("It is red. It is red. It is red.")
    limit = len(ids) + 1 - missing
    text = AnswerText(tokenizer, frozenset({end}), stops, limit, LoopGuard())
    events: list[TokenChunk | Result] = []
    for token_id in [*ids, end][:limit]:
        events += text.add(Token(token_id))
        if text.is_cut:
            break
    # The engine drops the draft of an answer that was cut, so that is known with the last token.
    assert text.is_cut == (reason != "length")
    events += text.finish(False, 1, 0, 0, None, DraftCounts())
    *chunks, result = events
    assert isinstance(result, Result)
    assert (result.text, result.finish_reason) == (expected, reason)
    assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TokenChunk)) == expected
