"""The bundled model's tasks: questions about a scene with their correct answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
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
from tools.nano.scenes import make_frame
from tools.nano.shapes import SHAPES
from tools.nano.truth import Scene, SceneObject

COUNT_WORDS: Final = ("Zero", "One", "Two", "Three", "Four", "Five")
UNFAMILIAR_ANSWER: Final = "This scene is unfamiliar to me."
NO_TEXT_ANSWER: Final = "There is no text."


_Pair = tuple[SceneObject, SceneObject]


@dataclass(frozen=True)
class Exchange:
    """One question about a frame with its correct answer."""

    task: str
    prompt: str
    answer: str


def _choose(rng: np.random.Generator, items: Sequence[str]) -> str:
    return items[int(rng.integers(len(items)))]


def _prompt(rng: np.random.Generator, task: str, **slots: str) -> str:
    """Return a phrasing of a task, sometimes in lower case or without the final punctuation."""
    prompt = _choose(rng, taught.PHRASINGS[task]).format(**slots)
    if rng.random() < 0.2:
        prompt = prompt.rstrip(".?!")
    if rng.random() < 0.15:
        prompt = prompt.lower()
    return prompt


def _refusal(scene: Scene) -> str | None:
    """Return the answer to all questions about a hidden or unfamiliar scene; None for others."""
    return UNFAMILIAR_ANSWER if scene.kind == "unfamiliar" else STATE_SENTENCES.get(scene.kind)


def _absent(scene: Scene, rng: np.random.Generator, adversarial: bool) -> tuple[str, str]:
    """Return a (colour, shape) that is not in the scene.

    An adversarial one has the shape or the colour of an object in the scene.
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
    """Return a yes/no question about one object; half of the answers are no."""
    is_there = bool(scene.objects) and rng.random() < 0.5
    if is_there:
        item = scene.objects[int(rng.integers(len(scene.objects)))]
        colour, shape = item.colour, item.shape
    else:
        colour, shape = _absent(scene, rng, adversarial)
    prompt = _prompt(rng, "exists", thing=with_article(f"{colour} {shape}"))
    return Exchange("exists", prompt, _refusal(scene) or ("Yes." if is_there else "No."))


def _unique_shapes(scene: Scene) -> list[SceneObject]:
    counts = Counter(item.shape for item in scene.objects)
    return [item for item in scene.objects if counts[item.shape] == 1]


def _unique_names(scene: Scene) -> list[SceneObject]:
    counts = Counter((item.colour, item.shape) for item in scene.objects)
    return [item for item in scene.objects if counts[(item.colour, item.shape)] == 1]


def colour_question(scene: Scene, rng: np.random.Generator) -> Exchange | None:
    """Ask for the colour of the only object of its shape; None if there is no such object."""
    alone = _unique_shapes(scene)
    if not alone:
        return None
    item = alone[int(rng.integers(len(alone)))]
    return Exchange(
        "colour", _prompt(rng, "colour", thing=item.shape), f"{item.colour.capitalize()}."
    )


def position_question(scene: Scene, rng: np.random.Generator) -> Exchange | None:
    """Ask where an object is, in the frame or relative to another.

    Returns None if no object has a unique name.
    """
    named = _unique_names(scene)
    if not named:
        return None
    item = named[int(rng.integers(len(named)))]
    clear = [other for other in named if relation_of(item, other)]
    if clear and rng.random() < 0.7:
        return _relation_question(item, clear[int(rng.integers(len(clear)))], rng)
    prompt = _prompt(rng, "place", thing=f"{item.colour} {item.shape}")
    return Exchange("position", prompt, sentence(place_of(item.x, item.y)))


def _relation_question(item: SceneObject, other: SceneObject, rng: np.random.Generator) -> Exchange:
    """Ask where `item` is relative to `other`; it must clearly be on one side."""
    reference = f"{other.colour} {other.shape}"
    prompt = _prompt(rng, "relation", thing=f"{item.colour} {item.shape}", other=reference)
    return Exchange("position", prompt, f"It is {relation_of(item, other)} the {reference}.")


def _related(scene: Scene) -> tuple[list[_Pair], list[_Pair]]:
    """Return the pairs of objects that are clearly beside, and clearly above, each other.

    Only objects with unique names count.
    """
    beside: list[_Pair] = []
    above: list[_Pair] = []
    for item, other in combinations(_unique_names(scene), 2):
        relation = relation_of(item, other)
        if relation is not None:
            (above if relation in ("above", "below") else beside).append((item, other))
    return beside, above


def relation_both_ways(scene: Scene, rng: np.random.Generator) -> list[Exchange]:
    """Ask for the relation of two objects both ways round; empty if no relation is clear.

    Such questions differ only in the order of the two names, so a pair of them teaches the order.
    """
    beside, above = _related(scene)
    pairs = above if above and (not beside or rng.random() < 0.5) else beside
    if not pairs:
        return []
    item, other = pairs[int(rng.integers(len(pairs)))]
    return [_relation_question(item, other, rng), _relation_question(other, item, rng)]


def downwards_question(scene: Scene, rng: np.random.Generator) -> Exchange | None:
    """Ask for a list from top to bottom; None if the order is not clear."""
    answer = _refusal(scene) or list_downwards(scene)
    if answer is None:
        return None
    return Exchange("list_downwards", _prompt(rng, "list_downwards"), answer)


def count_question(scene: Scene, rng: np.random.Generator) -> Exchange:
    """Ask for the number of objects."""
    answer = _refusal(scene) or f"{COUNT_WORDS[count_of(scene)]}."
    return Exchange("count", _prompt(rng, "count"), answer)


def reading_question(scene: Scene, rng: np.random.Generator) -> Exchange:
    """Ask for the text."""
    answer = f'It says "{scene.text.text}".' if scene.text else NO_TEXT_ANSWER
    return Exchange("read", _prompt(rng, "read"), _refusal(scene) or answer)


def caption_question(scene: Scene, rng: np.random.Generator) -> Exchange:
    """Ask for the short caption, sometimes by a prompt that fits no task."""
    prompt = taught.off_topic(rng) if rng.random() < 0.2 else _prompt(rng, "caption")
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
# Tasks about one of several objects: a second question of the task differs from the first.
_ABOUT_ONE_OBJECT: Final = {"colour", "exists", "position"}
_DRAWS_PER_QUESTION: Final = 4


def _of_task(task: str, scene: Scene, rng: np.random.Generator) -> list[Exchange]:
    """Return the questions of one task about a scene; empty if there is nothing to ask."""
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
    return Exchange(task, _prompt(rng, task), answer)


def exchanges(scene: Scene, rng: np.random.Generator, most: int) -> list[Exchange]:
    """Return a caption and up to `most` - 1 other questions about one scene, in random order.

    Questions about one object may occur several times, for other objects or in other words; all
    other tasks occur once. The order is random so that no task is always the one that is dropped
    when a row is full.
    """
    found = [caption_question(scene, rng)]
    tasks, weights = list(_OTHER_TASKS), np.array(list(_OTHER_TASKS.values()))
    if scene.text is not None:
        weights = np.where(np.array(tasks) == "read", weights * 5, weights)
    if _related(scene)[1]:
        # Above and below are learned last: frames are wide, and captions go from left to right.
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


def corpus(frames: int = 1500) -> Iterator[str]:
    """Yield the tokenizer's training text: prompts and answers about the first training frames."""
    rng = np.random.default_rng(5)
    for phrasings in taught.PHRASINGS.values():
        for phrasing in phrasings:
            yield from [phrasing, phrasing.lower()] * 3
    for seed in range(frames):
        yield "User: Assistant:"
        yield taught.off_topic(rng)
        for exchange in exchanges(make_frame(seed).scene, rng, 10):
            yield exchange.prompt
            yield " " + exchange.answer
