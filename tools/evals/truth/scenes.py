"""Questions about nano's scenes, with their right answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import numpy as np

from tools.nano.palette import COLOURS
from tools.nano.scenes import Frame, Split, make_frame
from tools.nano.shapes import SHAPES
from tools.nano.truth import Scene

# Those of POPE (Li et al., 2023, arxiv.org/abs/2305.10355).
Setting = Literal["random", "popular", "adversarial"]
SETTINGS: Final[tuple[Setting, ...]] = ("random", "popular", "adversarial")
LABELS: Final = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)

_MOST_OBJECTS: Final = 3
# Scenes that say which names are frequent, and how many of these are popular.
_COUNTED: Final = 150
_POPULAR: Final = 40


@dataclass(frozen=True)
class Poll:
    """Questions whether things are in one scene, half of them right."""

    present: tuple[str, ...]
    absent: dict[Setting, tuple[str, ...]]
    """As many as `present`, in each setting."""


def names_in(scene: Scene) -> set[str]:
    """Return the names of the objects."""
    return {f"{each.colour} {each.shape}" for each in scene.objects}


def poll_of(scene: Scene, seed: int) -> Poll:
    """Return the questions about a scene that has objects."""
    rng = np.random.default_rng([seed, 61])
    names = names_in(scene)
    present = tuple(sorted(names))[:_MOST_OBJECTS]
    others = [each for each in LABELS if each not in names]
    taken = scene.objects
    alike = [
        each
        for each in others
        if any(each.startswith(one.colour) or each.endswith(f" {one.shape}") for one in taken)
    ]
    popular = [each for each in _popular() if each not in names]
    pools: dict[Setting, list[str]] = {"random": others, "popular": popular, "adversarial": alike}
    return Poll(
        present,
        {
            setting: tuple(rng.choice(pool, size=len(present), replace=False).tolist())
            for setting, pool in pools.items()
        },
    )


def scenes_with_objects(count: int, split: Split, first: int = 0) -> Iterator[tuple[int, Frame]]:
    """Yield `count` scenes that have objects, with their seeds."""
    seed = first
    while count:
        frame = make_frame(seed, split)
        if frame.scene.objects and frame.scene.kind in ("objects", "words"):
            count -= 1
            yield seed, frame
        seed += 1


def single_objects(count: int, split: Split) -> Iterator[tuple[Frame, str]]:
    """Yield `count` scenes of one object, with its name."""
    seed = 0
    while count:
        frame = make_frame(seed, split, "objects")
        if len(frame.scene.objects) == 1:
            count -= 1
            (name,) = names_in(frame.scene)
            yield frame, name
        seed += 1


@cache
def _popular() -> tuple[str, ...]:
    counts: Counter[str] = Counter()
    for seed in range(_COUNTED):
        counts.update(names_in(make_frame(seed, "train").scene))
    return tuple(name for name, _ in counts.most_common(_POPULAR))
