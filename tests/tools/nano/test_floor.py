"""What the bundled checkpoint must see, at the least, on a few fixed scenes that it never met.

A floor lies a little under what `python -m tools.nano.evaluate --scenes 60` prints, so that a
checkpoint, a resize or a decoder that has become worse is noticed. The full figures, on many more
scenes, stand in vlm/nano/README.md.
"""

from __future__ import annotations

import pytest

from tools.nano.evaluate import evaluate
from vlm.engine.engine import Engine

SCENES = 60
FLOORS = {
    "object_f1": 0.955,
    "count": 0.98,
    "exists_random": 0.97,
    "exists_adversarial": 0.96,
    "position": 0.92,
    "words": 0.88,
    "states": 0.98,
}


@pytest.fixture(scope="module")
def figures(engine: Engine) -> dict[str, float | None]:
    return evaluate(engine, SCENES, 0, ())


@pytest.mark.parametrize("name", FLOORS)
def test_the_bundled_model_sees_at_least_this_well(
    figures: dict[str, float | None], name: str
) -> None:
    measured = figures[name]
    assert measured is not None, f"{name} was not measured"
    assert measured >= FLOORS[name]
