"""The first line of a frame as values and as a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vlm.results import Box

NOTHING: Final = "Nothing that I know."
MOST_NAMES: Final = 4
_LONGEST_TEXT: Final = 80
_MOST_TEXTS: Final = 4


@dataclass(frozen=True)
class Name:
    """A thing that is said."""

    name: str
    """In the singular: "bottle"."""
    phrase: str
    """As it is said: "a bottle", "bottles"."""
    area: float
    """Share of the picture; an estimate if no box shows the thing."""
    boxes: tuple[Box, ...] = ()
    """The boxes that it rests on, the best first; empty if the classifier alone knows it."""


@dataclass(frozen=True)
class FirstLine:
    """The parts of the first line about a frame."""

    place: str | None
    """With its article: "a kitchen"."""
    names: tuple[Name, ...]
    """The largest first."""
    texts: tuple[str, ...] = ()
    """Lines that the reader read."""

    @property
    def is_empty(self) -> bool:
        """Return whether nothing was recognised."""
        return not (self.place or self.names or self.texts)

    @property
    def sentence(self) -> str:
        """Return the line: "Perhaps a kitchen: a refrigerator, bottles. Text: EXIT."."""
        names = ", ".join(name.phrase for name in self.names)
        things = ": ".join(filter(None, [self.place, names]))
        parts = [f"Perhaps {things}."] if things else []
        if self.texts:
            parts.append(_text_sentence(self.texts))
        return " ".join(parts) or NOTHING


def _text_sentence(texts: Sequence[str]) -> str:
    shown = [_shortened(" ".join(text.split())) for text in texts[:_MOST_TEXTS]]
    shown += ["…"] if len(texts) > _MOST_TEXTS else []
    sentence = f"Text: {'; '.join(shown)}"
    return sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT].rstrip()}…"
