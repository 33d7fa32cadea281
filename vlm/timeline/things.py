"""The things that a caption names, in the form in which they are counted and asked for."""

from __future__ import annotations

from typing import Final, NamedTuple

from vlm.finder.names import vocabulary
from vlm.scoring.claims import phrases_of

_SAME_IN_PLURAL: Final = frozenset({"glasses", "scissors", "trousers", "jeans", "grass", "news"})


class Named(NamedTuple):
    """A thing that a caption names: "a big red star" is a star that is "big red"."""

    thing: str
    """In the singular and in lower case; one name for all words that mean the same."""
    attribute: str
    """The words before it; empty if there are none."""


def things_of(text: str) -> tuple[Named, ...]:
    """Return the things that the caption `text` names, each once, in order."""
    return tuple(dict.fromkeys(named(phrase.thing) for phrase in phrases_of(text)))


def named(phrase: str) -> Named:
    """Return the thing of a phrase without an article: "red stars", "fire engine"."""
    words = phrase.lower().split()
    # The longest known name at the end: "red fire engine" has the thing "fire engine".
    for start in range(max(0, len(words) - 3), len(words)):
        known = vocabulary().get(" ".join(words[start:]))
        if known is not None:
            return Named(known.name.lower(), " ".join(words[:start]))
    return Named(singular(words[-1]) if words else "", " ".join(words[:-1]))


def singular(word: str) -> str:
    """Return the singular of an English noun by its ending; other words stay as they are."""
    if word in _SAME_IN_PLURAL or len(word) < 4 or not word.endswith("s") or word.endswith("ss"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word if word.endswith(("us", "is")) else word[:-1]
