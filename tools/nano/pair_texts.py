"""Texts about nano's scenes, and which of them are true of a scene.

A text is true if all that it names is there, so a caption of one frame is true of another one that
shows more, and a name of colour and shape is not true of that colour and that shape on two objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tools.nano.language import caption, detailed_caption, with_article
from tools.nano.palette import COLOURS
from tools.nano.shapes import SHAPES
from tools.nano.truth import Scene, SceneText

LABELS: Final = tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)

# How people search and ask; "{}" stands for a name with its article or without.
_TEMPLATES: Final = (
    "{}",
    "{}",
    "a picture of {}",
    "there is {}",
    "is there {}?",
    "where is {}?",
    "when was {} there?",
    "find {}",
)
_STATES: Final = {
    "covered": ("the camera is covered", "covered camera"),
    "dark": ("it is too dark to see", "dark", "darkness"),
    "glare": ("strong glare", "glare hides the scene"),
    "blur": ("blurred picture", "too blurred to tell"),
    "empty": ("an empty scene", "nothing is there", "empty"),
    "unfamiliar": ("an unfamiliar scene", "something unfamiliar"),
}


@dataclass(frozen=True)
class Claim:
    """A text, and what must be in a scene for it to be true."""

    text: str
    needs: frozenset[str]


def facts_of(scene: Scene) -> frozenset[str]:
    """Return all that a text may need of a scene."""
    facts = {f"state {scene.kind}"}
    for item in scene.objects:
        name = f"{item.colour} {item.shape}"
        facts |= {name, item.shape, item.colour, f"{item.pattern} {name}"}
    if scene.text is not None:
        name = _text_name(scene.text)
        facts |= {name, name.split()[0]}
    return frozenset(facts)


def claims_of(scene: Scene, rng: np.random.Generator) -> list[Claim]:
    """Return texts that are true of a scene, with texts about two of its objects that are not.

    These have the colours of the two objects exchanged: an encoder that keeps no account of what
    belongs together cannot tell them apart (Yuksekgonul et al., 2023, arxiv.org/abs/2210.01936).
    """
    claims = [_caption_claim(scene, rng)]
    if scene.kind in _STATES:
        texts = _STATES[scene.kind]
        claims.append(Claim(texts[rng.integers(len(texts))], frozenset({f"state {scene.kind}"})))
    if scene.text is not None:
        name = _text_name(scene.text)
        claims.append(Claim(_asked(name, rng), frozenset({name})))
    if len(scene.objects) > 1:
        one, other = (scene.objects[index] for index in rng.permutation(len(scene.objects))[:2])
        if one.colour != other.colour and one.shape != other.shape:
            names = [f"{one.colour} {one.shape}", f"{other.colour} {other.shape}"]
            swapped = [f"{other.colour} {one.shape}", f"{one.colour} {other.shape}"]
            claims += [Claim(_joined(pair, rng), frozenset(pair)) for pair in (names, swapped)]
    return claims


def name_claims(rng: np.random.Generator) -> list[Claim]:
    """Return a text for each label, shape and colour."""
    names = [*LABELS, *SHAPES]
    claims = [Claim(_asked(name, rng), frozenset({name})) for name in names]
    return claims + [Claim(f"something {colour}", frozenset({colour})) for colour in COLOURS]


def truth_of(claims: Sequence[Claim], scenes: Iterable[frozenset[str]]) -> NDArray[np.bool_]:
    """Return which claims are true of which `facts_of` scenes, [scenes, claims]."""
    return np.array([[claim.needs <= facts for claim in claims] for facts in scenes])


def _caption_claim(scene: Scene, rng: np.random.Generator) -> Claim:
    text = caption(scene) if rng.random() < 0.6 else detailed_caption(scene)
    needs = {f"{item.pattern} {item.colour} {item.shape}" for item in scene.objects}
    if scene.text is not None:
        needs.add(_text_name(scene.text))
    return Claim(text, frozenset(needs or {f"state {scene.kind}"}))


def _text_name(text: SceneText) -> str:
    return f"{'number' if text.text.isdigit() else 'word'} in {text.colour}"


def _asked(name: str, rng: np.random.Generator) -> str:
    template = _TEMPLATES[rng.integers(len(_TEMPLATES))]
    bare = template == "{}" and rng.random() < 0.7
    return template.format(name if bare else with_article(name))


def _joined(names: Sequence[str], rng: np.random.Generator) -> str:
    if rng.random() < 0.5:
        return ", ".join(names)
    return " and ".join(map(with_article, names))
