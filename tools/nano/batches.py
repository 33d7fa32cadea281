"""Training batches: frames as pixels, patch labels, and several questions packed behind each frame.

The questions about one frame share its image tokens: each is a branch that sees the frame and
itself, but no other question, so that one vision pass serves them all and each reads as a chat of
one turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Idefics3Processor

from tools.nano.geometry import FRAME_SIDE_PX, IMAGE_TOKENS
from tools.nano.questions import exchanges
from tools.nano.scenes import Split, make_frame
from tools.nano.truth import Scene

LABEL_NAMES: Final = ("shape", "colour", "size", "pattern", "letter")
NO_TARGET: Final = -100
# A row takes further questions only up to this length: attention over padding is time lost. Image,
# a detailed caption of four objects and some short questions fit.
MAX_ROW_TOKENS: Final = 256
ANSWERS_STEP: Final = 512


@dataclass
class Batch:
    """B frames and their S packed tokens.

    pixels (B, 3, side, side) uint8; labels (B, 5, grid, grid) int64 in the order of LABEL_NAMES;
    input_ids, positions, branches and targets (B, S) int64. `branches` is 0 for the shared prefix,
    1.. for questions, -1 for padding. `targets[i]` is the token that position i must predict, or
    NO_TARGET.
    """

    pixels: Tensor
    labels: Tensor
    input_ids: Tensor
    positions: Tensor
    branches: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(
            **{name: tensor.to(device, non_blocking=True) for name, tensor in vars(self).items()}
        )

    def answer_positions(self) -> Tensor:
        """Where in the flattened (B * S) tokens the targets are, int64.

        Some positions without one fill up a round number: each different number costs the CPU's
        matrix library a kernel that it keeps, 11 MB of them a batch.
        """
        has_target = (self.targets != NO_TARGET).flatten()
        wanted = min(-(-int(has_target.sum()) // ANSWERS_STEP) * ANSWERS_STEP, len(has_target))
        # A stable sort puts those with a target first and keeps their order.
        return has_target.to(torch.int8).argsort(descending=True, stable=True)[:wanted]

    def attention_mask(self) -> Tensor:
        """(B, 1, S, S) bool: which earlier tokens each token sees."""
        branch = self.branches
        same = branch[:, :, None] == branch[:, None, :]
        shared = (branch == 0)[:, None, :]
        size = branch.shape[1]
        earlier = torch.ones(size, size, dtype=torch.bool, device=branch.device).tril()
        return ((same | shared) & earlier)[:, None]


def model_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """An RGB frame as the processor's two resizes leave it, (3, side, side), not yet normalised."""
    width, height = image.size
    if width >= height:
        high = int(FRAME_SIDE_PX / (width / height))
        fitted = (FRAME_SIDE_PX, max(1, high + high % 2))
    else:
        wide = int(FRAME_SIDE_PX * (width / height))
        fitted = (max(1, wide + wide % 2), FRAME_SIDE_PX)
    square = image.resize(fitted, Image.Resampling.LANCZOS).resize(
        (FRAME_SIDE_PX, FRAME_SIDE_PX), Image.Resampling.LANCZOS
    )
    pixels: NDArray[np.uint8] = np.asarray(square).transpose(2, 0, 1)
    return pixels


@dataclass(frozen=True)
class Drawn:
    """One frame as training keeps it: pixels (3, side, side), labels (5, grid, grid), the truth."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int8]
    scene: Scene


def _drawn(seed: int, split: Split) -> Drawn:
    frame = make_frame(seed, split)
    labels = np.stack([getattr(frame.labels, name) for name in LABEL_NAMES]).astype(np.int8)
    return Drawn(model_pixels(frame.image), labels, frame.scene)


class Packer:
    """Turns frames and questions into packed token rows."""

    def __init__(self, processor: Idefics3Processor) -> None:
        self._tokenizer = processor.tokenizer
        image = (
            f"{processor.fake_image_token}{processor.global_image_tag}"
            f"{processor.image_token * IMAGE_TOKENS}{processor.fake_image_token}"
        )
        self._prefix = self._encode(f"<|im_start|>User:{image}")
        self._end = self._encode("<end_of_utterance>")
        self._turn = self._encode("<end_of_utterance>\nAssistant:")

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def row(
        self, scene: Scene, rng: np.random.Generator, questions: int
    ) -> list[NDArray[np.int64]]:
        """One frame's ids, positions, branches and targets."""
        ids, positions = list(self._prefix), list(range(len(self._prefix)))
        branches, targets = [0] * len(ids), [NO_TARGET] * len(ids)
        for number, exchange in enumerate(exchanges(scene, rng, questions), start=1):
            question = self._encode(exchange.prompt) + self._turn
            answer = self._encode(" " + exchange.answer) + self._end
            fed = len(question) + len(answer) - 1
            if number > 1 and len(ids) + fed > MAX_ROW_TOKENS:
                continue
            # The last token of all is predicted, never fed.
            ids += question + answer[:-1]
            positions += range(len(self._prefix), len(self._prefix) + fed)
            branches += [number] * fed
            targets += [NO_TARGET] * (len(question) - 1) + answer
        return [np.array(column, dtype=np.int64) for column in (ids, positions, branches, targets)]


def _padded(rows: list[NDArray[np.int64]], fill: int) -> Tensor:
    # Lengths in steps of 16 keep the number of different shapes small.
    longest = -(-max(len(row) for row in rows) // 16) * 16
    table = np.full((len(rows), longest), fill, dtype=np.int64)
    for table_row, row in zip(table, rows, strict=True):
        table_row[: len(row)] = row
    return torch.from_numpy(table)


class FrameBatches(Dataset[Batch]):
    """Item n is the n-th batch of a split from `first_frame` on, the same at every run.

    With `distinct` above 0 the frames repeat after so many, kept in memory once drawn (112 kB each
    in every loading process), and are asked new questions each time: drawing a frame costs a CPU
    about a third of training on it.
    """

    def __init__(
        self,
        processor: Idefics3Processor,
        split: Split,
        size: int,
        questions: int,
        distinct: int = 0,
        first_frame: int = 0,
    ) -> None:
        self._packer = Packer(processor)
        self._split: Split = split
        self._size = size
        self._questions = questions
        self._distinct = distinct
        self._first_frame = first_frame
        self._kept: dict[int, Drawn] = {}

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([index, self._size])
        numbers = range(index * self._size, (index + 1) * self._size)
        frames = [self._frame(number) for number in numbers]
        rows = [self._packer.row(frame.scene, rng, self._questions) for frame in frames]
        columns = list(zip(*rows, strict=True))
        return Batch(
            torch.from_numpy(np.stack([frame.pixels for frame in frames])),
            torch.from_numpy(np.stack([frame.labels for frame in frames])).long(),
            _padded(list(columns[0]), 0),
            _padded(list(columns[1]), 0),
            _padded(list(columns[2]), -1),
            _padded(list(columns[3]), NO_TARGET),
        )

    def _frame(self, number: int) -> Drawn:
        if not self._distinct:
            return _drawn(self._first_frame + number, self._split)
        number %= self._distinct
        if number not in self._kept:
            self._kept[number] = _drawn(self._first_frame + number, self._split)
        return self._kept[number]
