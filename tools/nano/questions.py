"""What is asked about a scene and what is rightly answered: the bundled model's tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from tools.nano import prompts_taught as taught
from tools.nano.language import (
    STATE_SENTENCES,
    as_json,
    caption,
    count_of,
    detailed_caption,
    list_downwards,
    object_list,
    place_of,
    relation_of,
    sentence,
    with_article,
)
from tools.nano.palette import COLOURS
from tools.nano.shapes import SHAPES
from tools.nano.truth import Scene, SceneObject

COUNT_WORDS: Final = ("Zero", "One", "Two", "Three", "Four", "Five")
UNFAMILIAR_ANSWER: Final = "This scene is unfamiliar to me."
NO_TEXT_ANSWER: Final = "There is no text."


_Pair = tuple[SceneObject, SceneObject]


@dataclass(frozen=True)
class Exchange:
    """One question about a frame and its right answer."""

    task: str
    prompt: str
    answer: str


def _choose(rng: np.random.Generator, items: Sequence[str]) -> str:
    return items[int(rng.integers(len(items)))]


def asked(rng: np.random.Generator, task: str, **slots: str) -> str:
    """One phrasing of a task's question, typed as people type: not always with full stops."""
    prompt = _choose(rng, taught.PHRASINGS[task]).format(**slots)
    if rng.random() < 0.2:
        prompt = prompt.rstrip(".?!")
    if rng.random() < 0.15:
        prompt = prompt.lower()
    return prompt


def _refusal(scene: Scene) -> str | None:
    """The one honest answer to any question about what is in a frame that shows nothing taught."""
    return UNFAMILIAR_ANSWER if scene.kind == "unfamiliar" else STATE_SENTENCES.get(scene.kind)


def _absent(scene: Scene, rng: np.random.Generator, adversarial: bool) -> tuple[str, str]:
    """A (colour, shape) that is not there.

    An adversarial one shares its shape or its colour with an object that is.
    """
    present = {(item.colour, item.shape) for item in scene.objects}
    while True:
        colour, shape = _choose(rng, COLOURS), _choose(rng, SHAPES)
        if adversarial and scene.objects:
            item = scene.objects[int(rng.integers(len(scene.objects)))]
            if rng.random() < 0.7:
                shape = item.shape
            else:
                colour = item.colour
        if (colour, shape) not in present:
            return colour, shape


def existence(scene: Scene, rng: np.random.Generator, adversarial: bool) -> Exchange:
    """A yes/no question about one object; half of the answers are no."""
    there = bool(scene.objects) and rng.random() < 0.5
    if there:
        item = scene.objects[int(rng.integers(len(scene.objects)))]
        colour, shape = item.colour, item.shape
    else:
        colour, shape = _absent(scene, rng, adversarial)
    prompt = asked(rng, "exists", thing=with_article(f"{colour} {shape}"))
    return Exchange("exists", prompt, _refusal(scene) or ("Yes." if there else "No."))


def _unique_shapes(scene: Scene) -> list[SceneObject]:
    counts = Counter(item.shape for item in scene.objects)
    return [item for item in scene.objects if counts[item.shape] == 1]


def _unique_names(scene: Scene) -> list[SceneObject]:
    counts = Counter((item.colour, item.shape) for item in scene.objects)
    return [item for item in scene.objects if counts[(item.colour, item.shape)] == 1]


def colour_question(scene: Scene, rng: np.random.Generator) -> Exchange | None:
    """What colour the only object of its shape has; None where no shape stands alone."""
    alone = _unique_shapes(scene)
    if not alone:
        return None
    item = alone[int(rng.integers(len(alone)))]
    return Exchange(
        "colour", asked(rng, "colour", thing=item.shape), f"{item.colour.capitalize()}."
    )


def position_question(scene: Scene, rng: np.random.Generator) -> Exchange | None:
    """Where an object is, in the frame or as seen from another; None where none can be named."""
    named = _unique_names(scene)
    if not named:
        return None
    item = named[int(rng.integers(len(named)))]
    clear = [other for other in named if relation_of(item, other)]
    if clear and rng.random() < 0.7:
        return _relation_question(item, clear[int(rng.integers(len(clear)))], rng)
    prompt = asked(rng, "place", thing=f"{item.colour} {item.shape}")
    return Exchange("position", prompt, sentence(place_of(item.x, item.y)))


def _relation_question(item: SceneObject, other: SceneObject, rng: np.random.Generator) -> Exchange:
    """Where `item` is as seen from `other`, on one side of which it must clearly be."""
    reference = f"{other.colour} {other.shape}"
    prompt = asked(rng, "relation", thing=f"{item.colour} {item.shape}", other=reference)
    return Exchange("position", prompt, f"It is {relation_of(item, other)} the {reference}.")


def _related(scene: Scene) -> tuple[list[_Pair], list[_Pair]]:
    """The pairs of nameable objects that lie clearly beside one another, and above one another."""
    beside: list[_Pair] = []
    above: list[_Pair] = []
    for item, other in combinations(_unique_names(scene), 2):
        relation = relation_of(item, other)
        if relation is not None:
            (above if relation in ("above", "below") else beside).append((item, other))
    return beside, above


def relation_both_ways(scene: Scene, rng: np.random.Generator) -> list[Exchange]:
    """How two objects lie to each other, asked either way round; empty where none lie clearly.

    Nothing but the order of the two names tells such questions apart: side by side they teach it.
    """
    beside, above = _related(scene)
    pairs = above if above and (not beside or rng.random() < 0.5) else beside
    if not pairs:
        return []
    item, other = pairs[int(rng.integers(len(pairs)))]
    return [_relation_question(item, other, rng), _relation_question(other, item, rng)]


def downwards_question(scene: Scene, rng: np.random.Generator) -> Exchange | None:
    """What is there from top to bottom; None where the order is not clear."""
    answer = _refusal(scene) or list_downwards(scene)
    if answer is None:
        return None
    return Exchange("list_downwards", asked(rng, "list_downwards"), answer)


def count_question(scene: Scene, rng: np.random.Generator) -> Exchange:
    """How many objects there are."""
    answer = _refusal(scene) or f"{COUNT_WORDS[count_of(scene)]}."
    return Exchange("count", asked(rng, "count"), answer)


def reading_question(scene: Scene, rng: np.random.Generator) -> Exchange:
    """What the text says."""
    says = f'It says "{scene.text.text}".' if scene.text else NO_TEXT_ANSWER
    return Exchange("read", asked(rng, "read"), _refusal(scene) or says)


def caption_question(scene: Scene, rng: np.random.Generator) -> Exchange:
    """A request for the short caption, or now and then a prompt that fits no task: it gets one."""
    prompt = taught.off_topic(rng) if rng.random() < 0.2 else asked(rng, "caption")
    return Exchange("caption", prompt, caption(scene))


_OTHER_TASKS: Final = {
    "detailed": 0.1,
    "list": 0.04,
    "list_downwards": 0.1,
    "count": 0.04,
    "colour": 0.1,
    "exists": 0.2,
    "position": 0.18,
    "relation": 0.3,
    "read": 0.12,
    "light": 0.02,
    "json": 0.02,
}
# One object out of several is asked about, so that the next question of the task is another.
_ABOUT_ONE_OBJECT: Final = {"colour", "exists", "position"}
_DRAWS_PER_QUESTION: Final = 4


def _of_task(task: str, scene: Scene, rng: np.random.Generator) -> list[Exchange]:
    """What one task asks about a scene; nothing where it has nothing to ask of it."""
    if task == "relation":
        return relation_both_ways(scene, rng)
    exchange = _exchange(task, scene, rng)
    return [exchange] if exchange is not None else []


def _exchange(task: str, scene: Scene, rng: np.random.Generator) -> Exchange | None:
    if task == "exists":
        return existence(scene, rng, adversarial=rng.random() < 0.7)
    if task == "colour":
        return colour_question(scene, rng)
    if task == "position":
        return position_question(scene, rng)
    if task == "list_downwards":
        return downwards_question(scene, rng)
    if task == "count":
        return count_question(scene, rng)
    if task == "read":
        return reading_question(scene, rng)
    answer = {
        "detailed": lambda: detailed_caption(scene),
        "list": lambda: _refusal(scene) or object_list(scene),
        "light": lambda: f"The light is {scene.light}.",
        "json": lambda: as_json(scene),
    }[task]()
    return Exchange(task, asked(rng, task), answer)


def exchanges(scene: Scene, rng: np.random.Generator, most: int) -> list[Exchange]:
    """A caption and up to `most` - 1 other questions about one scene, all answered.

    A question about one object may come several times, of other objects or in other words; all
    else once. Their order is random, so that none is always the one left out where there is not
    room for all.
    """
    found = [caption_question(scene, rng)]
    tasks, weights = list(_OTHER_TASKS), np.array(list(_OTHER_TASKS.values()))
    if scene.text is not None:
        weights = np.where(np.array(tasks) == "read", weights * 5, weights)
    if _related(scene)[1]:
        # Frames are wide and captions go from left to right: above and below are learned last.
        weights = np.where(np.array(tasks) == "relation", weights * 2, weights)
    draws = rng.choice(len(tasks), size=most * _DRAWS_PER_QUESTION, p=weights / weights.sum())
    for index in draws:
        if len(found) >= most:
            break
        task = tasks[index]
        if task not in _ABOUT_ONE_OBJECT and any(each.task == task for each in found):
            continue
        prompts = {each.prompt for each in found}
        found += [each for each in _of_task(task, scene, rng) if each.prompt not in prompts]
    return [found[index] for index in rng.permutation(min(len(found), most))]
