"""Training batches: pixels, patch labels, and several questions packed behind each frame.

The questions about one frame share its image tokens: each is a branch that attends to the frame and
to itself, but to no other question. One vision pass serves all of them, and each is computed as a
chat with one turn.
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

from tools.nano.questions import exchanges
from tools.nano.scenes import Split, make_frame
from tools.nano.truth import FRAME_SIDE_PX, IMAGE_TOKENS, Scene

LABEL_NAMES: Final = ("shape", "colour", "size", "pattern", "letter")
NO_TARGET: Final = -100
# A row takes further questions only up to this length, because attention over padding wastes time.
# The image, a detailed caption of four objects and some short questions fit.
MAX_ROW_TOKENS: Final = 256
ANSWERS_STEP: Final = 512


@dataclass
class Batch:
    """B frames and their S packed tokens."""

    # (B, 3, side, side) uint8.
    pixels: Tensor
    # (B, 5, grid, grid) int64, in the order of LABEL_NAMES.
    labels: Tensor
    # (B, S) int64, as are the following.
    input_ids: Tensor
    positions: Tensor
    # 0 for the shared prefix, 1 and more for questions, -1 for padding.
    branches: Tensor
    # The token that each position must predict, or NO_TARGET.
    targets: Tensor

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`."""
        return Batch(
            **{name: tensor.to(device, non_blocking=True) for name, tensor in vars(self).items()}
        )

    def answer_positions(self) -> Tensor:
        """Return the positions of the targets in the flattened (B * S) tokens, int64.

        Positions without a target pad their number to a multiple of ANSWERS_STEP: the CPU's matrix
        library keeps a kernel for each different number, 11 MB for each batch.
        """
        has_target = (self.targets != NO_TARGET).flatten()
        count = min(-(-int(has_target.sum()) // ANSWERS_STEP) * ANSWERS_STEP, len(has_target))
        # A stable sort puts positions with a target first and keeps their order.
        return has_target.to(torch.int8).argsort(descending=True, stable=True)[:count]

    def attention_mask(self) -> Tensor:
        """Return (B, 1, S, S) bool: the earlier tokens that each token attends to."""
        branch = self.branches
        same = branch[:, :, None] == branch[:, None, :]
        shared = (branch == 0)[:, None, :]
        size = branch.shape[1]
        earlier = torch.ones(size, size, dtype=torch.bool, device=branch.device).tril()
        return ((same | shared) & earlier)[:, None]


def model_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return an RGB frame after the processor's two resizes, (3, side, side), not normalised."""
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
    """One frame as the data set keeps it."""

    # (3, side, side).
    pixels: NDArray[np.uint8]
    # (5, grid, grid).
    labels: NDArray[np.int8]
    scene: Scene


def _drawn(seed: int, split: Split) -> Drawn:
    frame = make_frame(seed, split)
    labels = np.stack([getattr(frame.labels, name) for name in LABEL_NAMES]).astype(np.int8)
    return Drawn(model_pixels(frame.image), labels, frame.scene)


class Packer:
    """Packs the questions about a frame into one row of tokens."""

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
        """Return one frame's ids, positions, branches and targets."""
        ids, positions = list(self._prefix), list(range(len(self._prefix)))
        branches, targets = [0] * len(ids), [NO_TARGET] * len(ids)
        for number, exchange in enumerate(exchanges(scene, rng, questions), start=1):
            question = self._encode(exchange.prompt) + self._turn
            answer = self._encode(" " + exchange.answer) + self._end
            fed = len(question) + len(answer) - 1
            if number > 1 and len(ids) + fed > MAX_ROW_TOKENS:
                continue
            # The last token is predicted, never an input.
            ids += question + answer[:-1]
            positions += range(len(self._prefix), len(self._prefix) + fed)
            branches += [number] * fed
            targets += [NO_TARGET] * (len(question) - 1) + answer
        return [np.array(column, dtype=np.int64) for column in (ids, positions, branches, targets)]


def _padded(rows: list[NDArray[np.int64]], fill: int) -> Tensor:
    # Lengths are multiples of 16, so that there are few different shapes.
    longest = -(-max(len(row) for row in rows) // 16) * 16
    table = np.full((len(rows), longest), fill, dtype=np.int64)
    for table_row, row in zip(table, rows, strict=True):
        table_row[: len(row)] = row
    return torch.from_numpy(table)


class FrameBatches(Dataset[Batch]):
    """Item n is the n-th batch of a split, starting at `first_frame`; deterministic.

    With `distinct` above 0 only that many frames are drawn, then repeated with new questions: to
    draw a frame takes a CPU about a third of the time to train on it. They are kept in memory, 112
    kB each in every loader process.
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
