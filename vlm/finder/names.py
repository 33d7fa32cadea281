"""The words by which people name what the detector and the classifier know.

Two tasks share them: a thing that a person looks for by its name, and the nouns of a caption that
are compared with the frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from vlm.classify.words import Place, Word, Words, load_words

# Other words for a name of `words.json`, in the singular.
SYNONYMS: Final[Mapping[str, str]] = {
    "airplane": "aeroplane, plane, airliner",
    "antelope": "gazelle, impala",
    "backpack": "rucksack, knapsack",
    "ball": "football, volleyball",
    "bathtub": "tub",
    "beach": "seaside, seashore",
    "bicycle": "bike",
    "boat": "motorboat, rowboat",
    "bookcase": "bookshelf",
    "bottle": "flask",
    "building": "house, skyscraper",
    "burger": "hamburger, cheeseburger",
    "car": "automobile, sedan",
    "cat": "kitten, kitty",
    "chair": "armchair, stool",
    "computer mouse": "mouse",
    "couch": "sofa, settee",
    "cow": "bull, calf, ox",
    "cup": "mug, teacup",
    "dog": "puppy",
    "doughnut": "donut",
    "fire engine": "fire truck",
    "glove": "mitten",
    "gun": "rifle, pistol",
    "hair dryer": "hair drier, hairdryer, blow dryer",
    "handbag": "purse",
    "hat": "cap",
    "horse": "pony, foal",
    "microwave oven": "microwave",
    "motorcycle": "motorbike, scooter, moped",
    "person": (
        "man, woman, boy, girl, child, kid, baby, toddler, lady, gentleman, guy, human, adult, "
        "player, skier, surfer, snowboarder, skateboarder, cyclist, rider, pedestrian, passenger, "
        "tourist, soldier, worker, crowd, child, male, female"
    ),
    "phone": "telephone, cell phone, cellphone, smartphone, iphone",
    "potted plant": "houseplant",
    "racket": "racquet",
    "refrigerator": "fridge, freezer",
    "remote control": "remote",
    "TV": "television",
    "screen": "monitor, display",
    "ship": "ferry, cruise ship",
    "shop": "store, supermarket",
    "sink": "basin, washbasin",
    "street": "road",
    "suitcase": "luggage",
    "sweater": "jumper, pullover, hoodie",
    "table": "coffee table",
    "taxi": "cab",
    "teddy bear": "teddy, stuffed bear",
    "tennis racket": "tennis racquet",
    "train": "locomotive",
    "trash can": "garbage can, dustbin",
    "truck": "lorry, pickup truck",
}
# Words for things that the detector may show under several names.
_BOXES_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "bag": ("handbag", "backpack", "suitcase"),
    "computer": ("laptop", "tv"),
    "desk": ("dining table",),
    "glass": ("wine glass", "cup"),
    "mobile phone": ("cell phone",),
    "sign": ("stop sign",),
    "van": ("car", "truck", "bus"),
}
# The broader words of detector's names that the classifier does not know.
_BROADER: Final[Mapping[str, str]] = {
    "cake": "dessert",
    "carrot": "vegetable",
    "doughnut": "dessert",
    "giraffe": "animal",
    "tennis racket": "racket",
}
# Plurals that mean another thing, which neither knows.
_OTHER_THINGS: Final = frozenset({"glasses"})
_PLURALS: Final[Mapping[str, str]] = {
    "calf": "calves",
    "child": "children",
    "gentleman": "gentlemen",
    "luggage": "luggage",
    "man": "men",
    "ox": "oxen",
    "person": "people",
    "woman": "women",
}
# Before a thing that a person asks for: "where is my cup?".
_LEADING: Final = re.compile(
    r"(?:please|find|show|search|look|locate|for|me|where|where's|is|are|there|the|a|an|any|some|my"
    r"|our|your|his|her|their|this|that) "
)


@dataclass(frozen=True)
class Known:
    """A thing or a place that the detector or the classifier knows."""

    name: str
    """In the singular: "cup"."""
    phrase: str
    """As it is said: "a cup"."""
    word: Word | None
    """The classifier's word, if there is one."""
    place: Place | None
    """The place of that name, if there is one."""
    boxes: frozenset[str]
    """The detector's names of it, and of narrower things."""
    is_boxed: bool
    """The detector has a name for just this thing, so that a box is to be expected."""
    wider_boxes: frozenset[str]
    """The detector's names of broader things, under which it may be shown."""


class Vocabulary:
    """All names that the detector and the classifier know, and the words for them."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._box_nouns = {box.noun.name: box.name for box in words.boxes.values()}
        nouns = [box.noun for box in words.boxes.values()] + [word.noun for word in words.words]
        self._nouns = {noun.name: noun for noun in nouns}
        self._known = {name: self._entry(name) for name in sorted(self._names())}
        # Names themselves before other words for them.
        forms = [(_plain(form), name) for name in self._known for form in self._forms_of(name)]
        forms += [(_plain(form), name) for name in self._known for form in self._others_of(name)]
        self._forms: dict[str, str] = {}
        for form, name in forms:
            if form not in _OTHER_THINGS:
                self._forms.setdefault(form, name)

    def get(self, form: str) -> Known | None:
        """Return what the singular or plural `form` names, in any case; None if unknown."""
        name = self._forms.get(_plain(form))
        return None if name is None else self._known[name]

    def boxes_for(self, asked: str) -> frozenset[str]:
        """Return the detector's names for what a person asks for; empty if it has none.

        A broad word stands for all its things ("fruit"); for a narrow one, boxes of the next
        broader thing are returned ("poodle": "dog"), under their own name.
        """
        known = self.get(thing_in(asked))
        return frozenset() if known is None else known.boxes or known.wider_boxes

    def noun_of(self, box_name: str) -> str:
        """Return the word that is said for a detector's name; the name itself if it is unknown."""
        known = self._words.boxes.get(box_name)
        return box_name if known is None else known.noun.name

    def is_broader(self, name: str, other: str) -> bool:
        """Return whether `name` is a broader word for `other`."""
        return name in self._broader(other)

    def _names(self) -> set[str]:
        places = {place.name for place in self._words.places}
        return {*self._words.by_name, *self._box_nouns, *places, *_BOXES_OF}

    def _entry(self, name: str) -> Known:
        word = self._words.by_name.get(name)
        box_names = {
            box.name
            for box in self._words.boxes.values()
            if name == box.noun.name
            or name.lower() == box.name
            or name in self._broader(box.noun.name)
        }
        place = next((place for place in self._words.places if place.name == name), None)
        noun = self._nouns.get(name)
        article = "an" if name[0] in "aeiou" else "a"
        return Known(
            name=name,
            phrase=noun.phrase() if noun else place.say if place else f"{article} {name}",
            word=word,
            place=place,
            boxes=frozenset(_BOXES_OF.get(name, box_names)),
            is_boxed=name in self._box_nouns or name.lower() in self._words.boxes,
            wider_boxes=frozenset(
                self._box_nouns[broader]
                for broader in self._broader(name)
                if broader in self._box_nouns
            ),
        )

    def _broader(self, name: str) -> Iterator[str]:
        while (broader := self._next_broader(name)) is not None:
            yield broader
            name = broader

    def _next_broader(self, name: str) -> str | None:
        word = self._words.by_name.get(name)
        return _BROADER.get(name) or (None if word is None else word.parent)

    def _forms_of(self, name: str) -> Iterator[str]:
        yield name
        noun = self._nouns.get(name)
        yield noun.plural if noun and noun.plural else _plural(name)

    def _others_of(self, name: str) -> Iterator[str]:
        if name in self._box_nouns:
            yield self._box_nouns[name]
        for synonym in filter(None, SYNONYMS.get(name, "").split(", ")):
            yield synonym
            yield _plural(synonym)


@cache
def vocabulary() -> Vocabulary:
    """Return the vocabulary of `words.json`."""
    return Vocabulary(load_words())


def thing_in(asked: str) -> str:
    """Return `asked` in lower case without what stands around the thing: "my cup" is "cup"."""
    thing = " ".join(re.sub(r"[^\w'-]+", " ", asked.lower().replace("\u2019", "'")).split())
    while (leading := _LEADING.match(thing)) is not None:
        thing = thing[leading.end() :]
    return thing


def _plain(form: str) -> str:
    return form.lower().replace("-", " ")


def _plural(name: str) -> str:
    if name in _PLURALS:
        return _PLURALS[name]
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"
