"""The evaluation `tokens`: what is kept, and that keeping all is the model's own answer."""

from __future__ import annotations

import numpy as np

from tools.evals.tokens.pruning import PrunedModel, at_random, diverse
from tools.nano.scenes import make_frame
from vlm.checkpoints.catalogue import BUNDLED_FOLDER
from vlm.engine.engine import Engine
from vlm.prompts import DEFAULT_PROMPT
from vlm.types import Request


def test_kept_tokens_are_different_ones() -> None:
    directions = np.eye(6, dtype=np.float32)
    # Eight of each direction, in other lengths.
    features = np.concatenate([directions * length for length in range(1, 9)])
    kept = diverse(features, 6)
    assert sorted((kept % 6).tolist()) == list(range(6))
    for count in (1, 20, len(features)):
        for some in (diverse(features, count), at_random(features, count, seed=3)):
            assert len(some) == count
            assert (np.diff(some) > 0).all()


def test_all_tokens_give_the_answer_of_the_engine(engine: Engine) -> None:
    model = PrunedModel(BUNDLED_FOLDER)
    for seed in range(3):
        image = make_frame(seed, "held_out").image
        features = model.features(image)
        every = np.arange(len(features))
        own = engine.run(Request.about(image, DEFAULT_PROMPT, 64)).text
        assert model.answer(features, DEFAULT_PROMPT, every, 64) == own
        some = model.answer(features, DEFAULT_PROMPT, diverse(features, 16), 64)
        assert some
