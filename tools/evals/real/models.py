"""The small models as the product runs them, for single pictures."""

from __future__ import annotations

from PIL import Image

from vlm.finder.finder import Finder
from vlm.finder.first_line import first_line
from vlm.finder.sentence import FirstLine
from vlm.results import Box
from vlm.settings import Settings


class SmallModels:
    """Detector and classifier with the rule that joins them."""

    def __init__(self) -> None:
        self._finder = Finder(Settings())
        self._classifier = self._finder.classifier.get()

    def look(self, image: Image.Image) -> tuple[list[Box], FirstLine]:
        """Return the boxes of a single picture and what is said about it."""
        look = self._finder.look(image)
        line = first_line(
            look.boxes,
            look.probabilities,
            lambda box: self._classifier.probabilities(image, box),
        )
        return list(look.boxes), line
