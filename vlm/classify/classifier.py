"""Name the things and the place that a whole picture shows, in everyday words."""

from __future__ import annotations

from typing import Final

from PIL import Image

from vlm.classify.hedging import hedged_labels
from vlm.classify.network import SIDE_PX, Network
from vlm.classify.words import Floats, Words, load_words
from vlm.results import Box, Label

# Of the box's sides, added at each end: a thing is easier to know with a little around it.
_MARGIN: Final = 0.1
# A large picture is first reduced by a whole factor, which halves the time of a resize and keeps
# all lines of the 24 photographs.
_REDUCING_GAP: Final = 1.0

_PixelBox = tuple[float, float, float, float]


def load_classifier() -> Classifier:
    """Return the bundled classifier; raise ModelFailedError or OpenVinoUnavailableError."""
    return Classifier(Network(), load_words())


class Classifier:
    """The bundled classifier. Thread-safe."""

    def __init__(self, network: Network, words: Words) -> None:
        self._network = network
        self.words = words

    def classify(self, image: Image.Image) -> list[Label]:
        """Return the things in the picture, the likeliest first, and a place if one is known."""
        return hedged_labels(self.words, self.probabilities(image))

    def probabilities(self, image: Image.Image, box: Box | None = None) -> Floats:
        """Return 1,000 probabilities: of the box, else the mean of two views of the picture.

        The views are the whole picture, squeezed to a square, and the square in its middle.
        """
        views = views_of(image) if box is None else [_view(image, _around(box, image.size))]
        mean: Floats = self._network.run(views)[0].mean(0)
        return mean

    def features(self, image: Image.Image) -> Floats:
        """Return 1,280 numbers whose directions are close for pictures that are alike."""
        features: Floats = self._network.run([_view(image)])[1][0]
        return features


def views_of(image: Image.Image) -> list[Image.Image]:
    """Return the views of a whole picture, as the network takes them; of a square one view."""
    whole = _view(image)
    is_square = image.width == image.height
    return [whole] if is_square else [whole, _view(image, _middle(image.size))]


def _view(image: Image.Image, box: _PixelBox | None = None) -> Image.Image:
    size = (SIDE_PX, SIDE_PX)
    return image.resize(size, Image.Resampling.BICUBIC, box, reducing_gap=_REDUCING_GAP)


def _middle(size: tuple[int, int]) -> _PixelBox:
    width, height = size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    return (left, top, left + side, top + side)


def _around(box: Box, size: tuple[int, int]) -> _PixelBox:
    """Return the box with its margin in pixels, inside the picture and not empty."""
    left, right = _widened(box.x0, box.x1, size[0])
    top, bottom = _widened(box.y0, box.y1, size[1])
    return (left, top, right, bottom)


def _widened(start: float, end: float, length_px: int) -> tuple[float, float]:
    margin = _MARGIN * (end - start)
    first_px = min(max(0.0, (start - margin) * length_px), length_px - 1.0)
    last_px = max(min(float(length_px), (end + margin) * length_px), first_px + 1)
    return first_px, last_px
