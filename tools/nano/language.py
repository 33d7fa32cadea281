"""Captions and lists of a scene, and how objects and text are parsed from them."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from typing import Final

from tools.nano.palette import COLOURS
from tools.nano.shapes import SHAPES
from tools.nano.truth import Scene, SceneObject, SceneText

STATE_SENTENCES: Final = {
    "covered": "The camera is covered.",
    "dark": "It is too dark to see.",
    "glare": "Strong glare hides the scene.",
    "blur": "The picture is too blurred to tell.",
}
# One object is beside another if the offset along one axis is this many times the other offset.
_CLEARLY_BESIDE: Final = 1.5
# Smallest vertical distance in an ordered list, as a share of the frame's height.
_CLEARLY_BELOW: Final = 0.05
_RELATIONS: Final = ("to the left of", "to the right of", "above", "below")


def with_article(phrase: str) -> str:
    """Return the phrase with "a" or "an" before it."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def sentence(text: str) -> str:
    """Return the text with a capital letter and a full stop."""
    return text[0].upper() + text[1:] + "."


def _joined(phrases: list[str]) -> str:
    if len(phrases) < 2:
        return "".join(phrases)
    return ", ".join(phrases[:-1]) + " and " + phrases[-1]


def name_of(item: SceneObject) -> str:
    """Return colour and shape, after the pattern unless it is solid."""
    plain = f"{item.colour} {item.shape}"
    return plain if item.pattern == "solid" else f"{item.pattern} {plain}"


def place_of(x: float, y: float) -> str:
    """Return the phrase for a position in the frame: one of nine."""
    column = ("left", "", "right")[min(2, int(x * 3))]
    row = ("top", "", "bottom")[min(2, int(y * 3))]
    if row:
        return f"at the {row} {column}".rstrip()
    return f"on the {column}" if column else "in the middle"


def relation_of(item: SceneObject, other: SceneObject) -> str | None:
    """Return where `item` is relative to `other`; None if it is not clearly on one side."""
    dx, dy = item.x - other.x, item.y - other.y
    if abs(dx) > _CLEARLY_BESIDE * abs(dy):
        return _RELATIONS[0] if dx < 0 else _RELATIONS[1]
    if abs(dy) > _CLEARLY_BESIDE * abs(dx):
        return _RELATIONS[2] if dy < 0 else _RELATIONS[3]
    return None


def _in_order(scene: Scene) -> list[SceneObject]:
    return sorted(scene.objects, key=lambda item: item.x)


def _text_name(text: SceneText) -> str:
    noun = "number" if text.text.isdigit() else "word"
    return f'{noun} "{text.text}" in {text.colour}'


def _text_phrase(scene: Scene) -> list[str]:
    return [f"the {_text_name(scene.text)}"] if scene.text else []


def caption(scene: Scene) -> str:
    """Return the short caption."""
    if scene.kind in STATE_SENTENCES:
        return STATE_SENTENCES[scene.kind]
    if scene.kind == "unfamiliar":
        return (
            f"An unfamiliar scene, mostly {_joined(list(scene.colours))}, in {scene.light} light."
        )
    if scene.kind == "empty":
        return f"An empty scene, mostly {scene.colours[0]}."
    return sentence(
        _joined(_text_phrase(scene) + [with_article(name_of(item)) for item in _in_order(scene)])
    )


def detailed_caption(scene: Scene) -> str:
    """Return the long caption, with sizes, places, background and light."""
    if scene.kind not in ("objects", "words"):
        return caption(scene)
    phrases = _text_phrase(scene) + [
        f"{with_article(f'{item.size} {name_of(item)}')} {place_of(item.x, item.y)}"
        for item in _in_order(scene)
    ]
    return sentence(
        f"{_joined(phrases)}, on a {scene.background} background, in {scene.light} light"
    )


def object_list(scene: Scene) -> str:
    """Return text and objects, comma-separated, from left to right."""
    texts = [_text_name(scene.text)] if scene.text else []
    return ", ".join(texts + [name_of(item) for item in _in_order(scene)]) or "nothing"


def list_downwards(scene: Scene) -> str | None:
    """Return text and objects from top to bottom; None if the order is not clear."""
    things = [(item.y, name_of(item)) for item in scene.objects]
    if scene.text is not None:
        things.append((scene.text.y, _text_name(scene.text)))
    things.sort()
    if any(below[0] - above[0] < _CLEARLY_BELOW for above, below in pairwise(things)):
        return None
    return ", ".join(name for _, name in things) or "nothing"


def as_json(scene: Scene) -> str:
    """Return the scene as JSON: {"scene", "objects": [names], "text", "light"}."""
    return json.dumps(
        {
            "scene": "clear" if scene.kind in ("objects", "words") else scene.kind,
            "objects": [f"{item.size} {name_of(item)}" for item in _in_order(scene)],
            "text": scene.text.text if scene.text else None,
            "light": scene.light,
        }
    )


def count_of(scene: Scene) -> int:
    """Return the number of objects; a word or number counts as one."""
    return len(scene.objects) + (scene.text is not None)


_NAMED = re.compile(
    rf"\b({'|'.join(COLOURS)}) ({'|'.join(sorted(SHAPES, key=len, reverse=True))})\b"
)
_QUOTED = re.compile(r'"([^"]*)"')


def objects_in(text: str) -> Counter[tuple[str, str]]:
    """Return the (colour, shape) pairs that a caption names, with their counts."""
    return Counter((colour, shape) for colour, shape in _NAMED.findall(text))


def quoted_in(text: str) -> str | None:
    """Return the text that a caption or an answer quotes; None if it quotes nothing."""
    found = _QUOTED.search(text)
    return found.group(1) if found else None
