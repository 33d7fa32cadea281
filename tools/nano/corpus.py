"""The sentences that the tokenizer is trained on: questions and answers about drawn scenes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tools.nano.prompts_taught import PHRASINGS, off_topic
from tools.nano.questions import exchanges
from tools.nano.scenes import make_frame


def corpus(frames: int = 1500) -> Iterator[str]:
    """Prompts and answers about the first training frames, roles and all phrasings among them."""
    rng = np.random.default_rng(5)
    for phrasings in PHRASINGS.values():
        for phrasing in phrasings:
            yield from [phrasing, phrasing.lower()] * 3
    for seed in range(frames):
        yield "User: Assistant:"
        yield off_topic(rng)
        for exchange in exchanges(make_frame(seed).scene, rng, 10):
            yield exchange.prompt
            yield " " + exchange.answer
