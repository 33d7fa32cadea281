"""Laws of the text that streams: it only grows, whole characters only, and equals the decoder's."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from vlm.checkpoints import load_processor
from vlm.detokenize import Detokenizer

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
def tokenizer(request: pytest.FixtureRequest) -> Any:
    folder = request.getfixturevalue("nano_dir" if request.param == "nano" else "smolvlm_dir")
    assert isinstance(folder, Path)
    return load_processor(folder).tokenizer


def decoder(tokenizer: Any) -> Callable[[Sequence[int]], str]:
    def decode(ids: Sequence[int]) -> str:
        text: str = tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    return decode


def chunks_of(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    detokenizer = Detokenizer(decoder(tokenizer))
    return [*(detokenizer.add(token_id) for token_id in ids), detokenizer.finish()]


@pytest.mark.parametrize("text", TEXTS)
def test_chunks_together_are_the_whole_text(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert "".join(chunks_of(tokenizer, ids)) == decoder(tokenizer)(ids).lstrip() == text.lstrip()


@pytest.mark.parametrize("text", TEXTS)
def test_no_chunk_shows_half_a_character(tokenizer: Any, text: str) -> None:
    assert not any(
        "\ufffd" in chunk for chunk in chunks_of(tokenizer, tokenizer(text)["input_ids"])
    )


def test_text_comes_as_soon_as_it_is_whole(tokenizer: Any) -> None:
    ids = tokenizer("A red ball and a blue cube.")["input_ids"]
    chunks = chunks_of(tokenizer, ids)
    assert all(chunks[:-1])
    assert chunks[-1] == ""


def test_a_character_cut_off_at_the_end_is_left_out(tokenizer: Any) -> None:
    ids = tokenizer("A 🙂")["input_ids"]
    if decoder(tokenizer)(ids[:-1]).endswith("🙂"):
        pytest.skip("this tokenizer has no part of that character")
    assert "".join(chunks_of(tokenizer, ids[:-1])).strip() == "A"


def test_special_tokens_show_nothing_and_lose_nothing(tokenizer: Any) -> None:
    end = tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    ids = [end, *tokenizer(" A cat")["input_ids"], end, *tokenizer(" sits")["input_ids"], end]
    assert "".join(chunks_of(tokenizer, ids)) == "A cat sits"


def test_any_ids_at_all_stream_as_they_decode(tokenizer: Any) -> None:
    chance = random.Random(3)
    for _ in range(200):
        ids = [chance.randrange(len(tokenizer)) for _ in range(chance.randint(1, 30))]
        streamed = "".join(chunks_of(tokenizer, ids))
        whole = decoder(tokenizer)(ids).lstrip()
        assert streamed.rstrip("\ufffd") == whole.rstrip("\ufffd")


def test_a_decoder_that_drops_the_first_space_keeps_the_others() -> None:
    pieces = ["▁A", "▁red", "▁ba", "ll", "."]

    def decode(ids: Sequence[int]) -> str:
        return "".join(pieces[i] for i in ids).replace("▁", " ").removeprefix(" ")

    detokenizer = Detokenizer(decode)
    chunks = [detokenizer.add(i) for i in range(len(pieces))] + [detokenizer.finish()]
    assert chunks == ["A", " red", " ba", "ll", ".", ""]
