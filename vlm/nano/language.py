"""What is asked about a scene and what is rightly answered: the bundled model's whole language."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from vlm.nano import prompts_taught as taught
from vlm.nano.palette import COLOURS
from vlm.nano.scenes import SIZES, Scene, SceneObject
from vlm.nano.shapes import PATTERNS, SHAPES

COUNT_WORDS: Final = ("Zero", "One", "Two", "Three", "Four", "Five")
UNFAMILIAR_ANSWER: Final = "This scene is unfamiliar to me."
NO_TEXT_ANSWER: Final = "There is no text."
STATE_SENTENCES: Final = {
    "covered": "The camera is covered.",
    "dark": "It is too dark to see.",
    "glare": "Strong glare hides the scene.",
    "blur": "The picture is too blurred to tell.",
}
# Centres must differ this clearly along one axis before one is said to be beside the other.
_CLEARLY_BESIDE: Final = 1.5
_RELATIONS: Final = ("to the left of", "to the right of", "above", "below")


@dataclass(frozen=True)
class Exchange:
    """One question about a frame and its right answer."""

    task: str
    prompt: str
    answer: str


def with_article(phrase: str) -> str:
    """The phrase with "a" or "an" before it."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _joined(phrases: list[str]) -> str:
    if len(phrases) < 2:
        return "".join(phrases)
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]


def name_of(item: SceneObject) -> str:
    """Colour and shape, the pattern before them unless it is solid."""
    plain = f"{item.colour} {item.shape}"
    return plain if item.pattern == "solid" else f"{item.pattern} {plain}"


def place_of(x: float, y: float) -> str:
    """Where in the frame a position lies, in words: nine places."""
    column = ("left", "", "right")[min(2, int(x * 3))]
    row = ("top", "", "bottom")[min(2, int(y * 3))]
    if row:
        return f"at the {row} {column}".rstrip()
    return f"on the {column}" if column else "in the middle"


def relation_of(item: SceneObject, other: SceneObject) -> str | None:
    """Where `item` is as seen from `other`; None where it is not clearly on one side."""
    dx, dy = item.x - other.x, item.y - other.y
    if abs(dx) > _CLEARLY_BESIDE * abs(dy):
        return _RELATIONS[0] if dx < 0 else _RELATIONS[1]
    if abs(dy) > _CLEARLY_BESIDE * abs(dx):
        return _RELATIONS[2] if dy < 0 else _RELATIONS[3]
    return None


def _in_order(scene: Scene) -> list[SceneObject]:
    return sorted(scene.objects, key=lambda item: item.x)


def _text_phrase(scene: Scene) -> list[str]:
    if scene.text is None:
        return []
    noun = "number" if scene.text.text.isdigit() else "word"
    return [f'the {noun} "{scene.text.text}" in {scene.text.colour}']


def caption(scene: Scene) -> str:
    """The short caption."""
    if scene.kind in STATE_SENTENCES:
        return STATE_SENTENCES[scene.kind]
    if scene.kind == "unfamiliar":
        return (
            f"An unfamiliar scene, mostly {_joined(list(scene.colours))}, in {scene.light} light."
        )
    if scene.kind == "empty":
        return f"An empty scene, mostly {scene.colours[0]}."
    return _sentence(
        _joined(_text_phrase(scene) + [with_article(name_of(item)) for item in _in_order(scene)])
    )


def detailed_caption(scene: Scene) -> str:
    """The long caption: sizes, places, background and light as well."""
    if scene.kind not in ("objects", "words"):
        return caption(scene)
    phrases = _text_phrase(scene) + [
        f"{with_article(f'{item.size} {name_of(item)}')} {place_of(item.x, item.y)}"
        for item in _in_order(scene)
    ]
    return _sentence(
        f"{_joined(phrases)}, on a {scene.background} background, in {scene.light} light"
    )


def object_list(scene: Scene) -> str:
    """The objects, comma-separated."""
    texts = [phrase.removeprefix("the ") for phrase in _text_phrase(scene)]
    return ", ".join(texts + [name_of(item) for item in _in_order(scene)]) or "nothing"


def as_json(scene: Scene) -> str:
    """The JSON form: {"scene", "objects": [names], "text", "light"}."""
    return json.dumps(
        {
            "scene": "clear" if scene.kind in ("objects", "words") else scene.kind,
            "objects": [f"{item.size} {name_of(item)}" for item in _in_order(scene)],
            "text": scene.text.text if scene.text else None,
            "light": scene.light,
        }
    )


def count_of(scene: Scene) -> int:
    """How many things there are; a word or number is one."""
    return len(scene.objects) + (scene.text is not None)


def _choose(rng: np.random.Generator, items: tuple[str, ...] | list[str]) -> str:
    return items[int(rng.integers(len(items)))]


def asked(rng: np.random.Generator, task: str, **slots: str) -> str:
    """One phrasing of a task's question, typed as people type: not always with capitals and full stops."""
    prompt = _choose(rng, taught.PHRASINGS[task]).format(**slots)
    if rng.random() < 0.2:
        prompt = prompt.rstrip(".?!")
    if rng.random() < 0.15:
        prompt = prompt.lower() if '"' not in prompt else prompt
    return prompt


def _refusal(scene: Scene) -> str | None:
    """The one honest answer to any question about what is in a frame that shows nothing taught."""
    return UNFAMILIAR_ANSWER if scene.kind == "unfamiliar" else STATE_SENTENCES.get(scene.kind)


def _absent(scene: Scene, rng: np.random.Generator, adversarial: bool) -> tuple[str, str]:
    """A (colour, shape) that is not there; an adversarial one shares its shape or colour with one that is."""
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
    """Where an object is, in the frame or as seen from another; None where no object can be named."""
    named = _unique_names(scene)
    if not named:
        return None
    item = named[int(rng.integers(len(named)))]
    others = [(o, relation_of(item, o)) for o in named if o is not item]
    clear = [(o, relation) for o, relation in others if relation]
    if clear and rng.random() < 0.7:
        other, relation = clear[int(rng.integers(len(clear)))]
        prompt = asked(
            rng,
            "relation",
            thing=f"{item.colour} {item.shape}",
            other=f"{other.colour} {other.shape}",
        )
        return Exchange(
            "position", prompt, _sentence(f"{relation} the {other.colour} {other.shape}")
        )
    prompt = asked(rng, "place", thing=f"{item.colour} {item.shape}")
    return Exchange("position", prompt, _sentence(place_of(item.x, item.y)))


def count_question(scene: Scene, rng: np.random.Generator) -> Exchange:
    """How many objects there are."""
    answer = _refusal(scene) or f"{COUNT_WORDS[count_of(scene)]}."
    return Exchange("count", asked(rng, "count"), answer)


def reading_question(scene: Scene, rng: np.random.Generator) -> Exchange:
    """What the text says."""
    says = f'It says "{scene.text.text}".' if scene.text else NO_TEXT_ANSWER
    return Exchange("read", asked(rng, "read"), _refusal(scene) or says)


def caption_question(scene: Scene, rng: np.random.Generator) -> Exchange:
    """A request for the short caption, or now and then a prompt that fits no task and gets one too."""
    prompt = taught.off_topic(rng) if rng.random() < 0.2 else asked(rng, "caption")
    return Exchange("caption", prompt, caption(scene))


_OTHER_TASKS: Final = {
    "detailed": 0.14,
    "list": 0.08,
    "count": 0.13,
    "colour": 0.1,
    "exists": 0.2,
    "position": 0.16,
    "read": 0.11,
    "light": 0.04,
    "json": 0.04,
}


def _exchange(task: str, scene: Scene, rng: np.random.Generator) -> Exchange | None:
    if task == "exists":
        return existence(scene, rng, adversarial=rng.random() < 0.7)
    if task == "colour":
        return colour_question(scene, rng)
    if task == "position":
        return position_question(scene, rng)
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
    """A caption and up to `most` - 1 different other questions about one scene, with their answers."""
    found = [caption_question(scene, rng)]
    tasks, weights = list(_OTHER_TASKS), np.array(list(_OTHER_TASKS.values()))
    if scene.text is not None:
        weights = np.where(np.array(tasks) == "read", weights * 5, weights)
    order = rng.choice(len(tasks), size=len(tasks), replace=False, p=weights / weights.sum())
    for index in order:
        if len(found) == most:
            break
        exchange = _exchange(tasks[index], scene, rng)
        if exchange is not None:
            found.append(exchange)
    return found


_NAMED = re.compile(
    rf"\b({'|'.join(COLOURS)}) ({'|'.join(sorted(SHAPES, key=len, reverse=True))})\b"
)
_QUOTED = re.compile(r'"([^"]*)"')


def objects_in(text: str) -> Counter[tuple[str, str]]:
    """The (colour, shape) pairs that a caption names, with how often."""
    return Counter((colour, shape) for colour, shape in _NAMED.findall(text))


def quoted_in(text: str) -> str | None:
    """The text that a caption or an answer quotes."""
    found = _QUOTED.search(text)
    return found.group(1) if found else None


VOCABULARY: Final = (*COLOURS, *SHAPES, *PATTERNS, *SIZES)
