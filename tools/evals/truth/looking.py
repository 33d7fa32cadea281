"""Measure attention maps: against nano's patch labels, and by hiding the region of the maximum."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tools.evals.figures import Figure, share
from tools.evals.truth.asking import LocalModel
from tools.evals.truth.measures import share_interval
from tools.nano.scenes import Frame
from tools.nano.shapes import SHAPES
from vlm.results import Looks, LookWord
from vlm.scoring.looks import core_of, pointed_cells

Cells = npt.NDArray[np.bool_]


def things_of(frame: Frame, looks: Looks) -> Iterator[tuple[LookWord, Cells]]:
    """Yield the words that name the shape of one object of the scene, with the cells that show it.

    Of a name of two words that is the first: the second one follows from it.
    """
    counts = Counter(item.shape for item in frame.scene.objects)
    names = [word.text.strip(".,").lower() for word in looks.words]
    rows, columns = looks.grid
    for label, shape in enumerate(SHAPES, 1):
        here = frame.labels.shape == label
        if counts[shape] != 1 or not here.any():
            continue
        parts = shape.split()
        cells = here.reshape(rows, here.shape[0] // rows, columns, -1).any((1, 3))
        for index in range(len(names)):
            if names[index : index + len(parts)] == parts:
                yield looks.words[index], cells


class Pointing:
    """Counts words whose map has its maximum on what they name."""

    def __init__(self) -> None:
        self._right = self._words = 0
        self._chance = 0.0

    def add(self, word: LookWord, cells: Cells) -> None:
        """Count one word of `things_of`."""
        self._words += 1
        self._chance += float(cells.mean())
        self._right += bool(cells.ravel()[int(np.argmax(word.map))])

    def figures(self) -> list[Figure]:
        """Return the share of right words, with that of a cell by chance in its note."""
        if not self._words:
            return []
        low, high = share_interval(self._right, self._words)
        note = f"chance {self._chance / self._words:.3f}, 95 %: {low:.3f} to {high:.3f}"
        return [share("pointing", self._right, self._words, note, least=0.97)]


class Hiding:
    """Counts words that lose most without the region that they pointed at.

    It is hidden from all rows after the image; so is each other region of the same form.
    """

    def __init__(self, model: LocalModel) -> None:
        self._model = model
        self._right = self._words = self._without_place = 0
        self._chance = 0.0
        self._lost: list[float] = []

    def add(self, frame: Frame, text: str, looks: Looks, word: LookWord) -> None:
        """Count `word` of the answer `text`, if another region of the form has room."""
        region = np.zeros(looks.grid, np.bool_)
        region.flat[list(pointed_cells(word))] = True
        regions = [region, *_moved(region)]
        if len(regions) < 2:
            self._without_place += 1
            return
        core = core_of(text, word.start, word.end)
        assert core is not None, "a word has a character that is no blank"
        hidden = [(), *(tuple(np.flatnonzero(each).tolist()) for each in regions)]
        whole, pointed, *others = self._model.hidden(frame.image, text, core, hidden)
        self._words += 1
        self._right += pointed < min(others)
        self._chance += 1 / len(regions)
        self._lost.append(whole - pointed)

    def figures(self) -> list[Figure]:
        """Return the share of words that lost most, with that by chance in its note."""
        if not self._words:
            return []
        low, high = share_interval(self._right, self._words)
        lost = math.exp(-float(np.median(self._lost)))
        note = (
            f"chance {self._chance / self._words:.3f}, 95 %: {low:.3f} to {high:.3f}; median "
            f"probability without it {lost:.2g} of what it was; {self._without_place} regions had "
            "no other place"
        )
        return [share("hiding", self._right, self._words, note, least=0.95)]


def _moved(region: Cells) -> Iterator[Cells]:
    """Yield `region` at each other place of the grid where it does not overlap with itself."""
    rows, columns = np.nonzero(region)
    height, width = region.shape
    for down in range(-int(rows.min()), height - int(rows.max())):
        for right in range(-int(columns.min()), width - int(columns.max())):
            other = np.zeros_like(region)
            other[rows + down, columns + right] = True
            if not (other & region).any():
                yield other
