"""How a model is asked, and in which words it answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vlm.checkpoints.catalogue import BUNDLED_MODEL
from vlm.prompts import DEFAULT_PROMPT

_LEADING: Final = re.compile(
    r"(?:an?|the|some|any|no|my|your|his|her|its|our|their|this|that|these|those|one|two|three|four"
    r"|five|several|many|few)\b|\d",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Phrasing:
    """The questions for a model, and the forms of its answers."""

    label_question: str
    label_answers: tuple[str, ...]
    """The forms of a caption of one thing; `{thing}` is the label with an article, `{plain}`
    without."""
    existence_question: str = "Is there {thing} in this image?"
    yes: tuple[str, ...] = ("Yes", "yes")
    no: tuple[str, ...] = ("No", "no")
    nouns: frozenset[str] = frozenset()
    """The names of things that the model was taught, in the singular; empty: it knows any."""

    def knows(self, thing: str) -> bool:
        """Return whether the model can tell of `thing`, such as "red stars", if it is there.

        A model that was taught few words says yes to others as it likes.
        """
        last = re.findall(r"\w+", thing.lower())[-1:]
        forms = {each.removesuffix(end) for each in last for end in ("", "s", "es")}
        return not self.nouns or not self.nouns.isdisjoint(forms)

    def label_texts(self, label: str) -> tuple[str, ...]:
        """Return the answers that name `label`, each with a capital letter."""
        return tuple(
            _capital(form.format(thing=with_article(label), plain=label))
            for form in self.label_answers
        )


_GENERAL: Final = Phrasing(
    # Short: it is fed with the labels if the last question was another one.
    label_question="What is in this image?",
    label_answers=("{thing}.",),
)
_NANO_NOUNS: Final = (
    "arrow circle crescent cross diamond face heart number rectangle ring square star text "
    "triangle word"
)
_NANO: Final = Phrasing(
    label_question=DEFAULT_PROMPT,
    # It names the pattern of a thing, too.
    label_answers=("{thing}.", "an outlined {plain}.", "a striped {plain}.", "a dotted {plain}."),
    nouns=frozenset(_NANO_NOUNS.split()),
)


def phrasing_of(model: str) -> Phrasing:
    """Return how `model`, as in `EngineInfo`, is asked."""
    return _NANO if model == BUNDLED_MODEL else _GENERAL


def with_article(label: str) -> str:
    """Return `label` as it stands behind "there is"; a plural or a name gets no article."""
    last = label.rsplit(maxsplit=1)[-1]
    is_plural = last.endswith("s") and not last.endswith(("ss", "us", "is"))
    if _LEADING.match(label) or is_plural or not label[0].isalpha() or label[0].isupper():
        return label
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
