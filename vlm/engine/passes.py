"""Forward passes as data, so that the passes of several requests can run as one.

A generation is written as `Passes`: a generator that yields a pass when it needs one, receives the
output of that pass, and yields its tokens in between. Nothing in it runs the model, so the engine
decides which passes run together. docs/architecture.md explains the idea.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from vlm.errors import SightlineError
from vlm.processing.image_processor import PixelValues
from vlm.runtimes.base import ImageFeatures, KVState, Runtime, VisionState
from vlm.runtimes.trees import Asked, Tree


@dataclass(frozen=True)
class Encode:
    """Encode tiles. Its output: their ImageFeatures."""

    pixel_values: PixelValues
    """[tiles, 3, side, side]"""


@dataclass(frozen=True)
class EncodeChanged:
    """Encode some patches of one tile. Its output: the ImageFeatures of the whole tile."""

    state: VisionState
    pixel_values: PixelValues
    """[1, 3, side, side]"""
    changed: npt.NDArray[np.int64]
    """Indices of the patches; of the others `state` has what was computed last."""


@dataclass(frozen=True)
class EncodePatches:
    """Encode tiles up to the connector. Its output: features, [tiles, patches, hidden]."""

    pixel_values: PixelValues
    """[tiles, 3, side, side]"""


@dataclass(frozen=True)
class Prefill:
    """Feed a new sequence. Its output: the state, and the Predicted after the last `count`."""

    input_ids: Sequence[int]
    features: Sequence[ImageFeatures]
    count: int = 1
    want_logits: bool = False


@dataclass(frozen=True)
class Refeed:
    """Feed some tokens of a sequence, the last ones among them. Its output is that of Prefill."""

    state: KVState
    """Has all other tokens; it stays as it is."""
    positions: npt.NDArray[np.int64]
    input_ids: Sequence[int]
    """The tokens at `positions`."""
    features: Sequence[ImageFeatures]
    """Of the image tokens among them."""
    count: int = 1
    want_logits: bool = False


@dataclass(frozen=True)
class Verify:
    """Append several tokens to `state`. Its output: the Predicted after the last `count`."""

    state: KVState
    token_ids: Sequence[int]
    count: int
    want_logits: bool = False


@dataclass(frozen=True)
class Decode:
    """Append one token to `state`. Its output: the Predicted after it."""

    state: KVState
    token_id: int
    want_logits: bool = False


@dataclass(frozen=True)
class Score:
    """Score continuations of `state`, which stays as it is. Its output: a log probability each."""

    state: KVState
    tree: Tree
    asked: Sequence[Asked]
    """Rows of the tree, each with a token that may follow it."""


@dataclass(frozen=True)
class Look:
    """Feed tokens once more behind a part of `state`, which stays as it is. Output: Attended."""

    state: KVState
    length: int
    """Of its first tokens."""
    token_ids: Sequence[int]
    layers: Sequence[int]


Pass: TypeAlias = (
    Encode | EncodeChanged | EncodePatches | Prefill | Refeed | Verify | Decode | Score | Look
)
PASSES: Final = (
    Encode, EncodeChanged, EncodePatches, Prefill, Refeed, Verify, Decode, Score, Look,
)  # fmt: skip

T = TypeVar("T")
Passes: TypeAlias = Generator[Pass | T, Any, None]


class SharedPassError(SightlineError):
    """A batched pass failed, and its states are lost; each request must retry alone."""

    code = "shared_pass_failed"


def run_alone(runtime: Runtime[Any], passes: Passes[T]) -> Iterator[T]:
    """Yield what `passes` yields between its passes, each of which runs by itself."""
    try:
        step = next(passes)
        while True:
            if isinstance(step, PASSES):
                step = passes.send(run_pass(runtime, step))
            else:
                yield step
                step = next(passes)
    except StopIteration:
        return
    finally:
        passes.close()


def run_pass(runtime: Any, wanted: Pass) -> Any:
    """Run one pass and return its output; raise what the runtime raises."""
    if isinstance(wanted, Encode):
        return runtime.encode_image(wanted.pixel_values)
    if isinstance(wanted, EncodeChanged):
        return runtime.encode_changed(wanted.state, wanted.pixel_values, wanted.changed)
    if isinstance(wanted, EncodePatches):
        return runtime.patch_features(wanted.pixel_values)
    if isinstance(wanted, Prefill):
        return runtime.prefill(
            wanted.input_ids, wanted.features, wanted.count, want_logits=wanted.want_logits
        )
    if isinstance(wanted, Refeed):
        return runtime.refeed(
            wanted.state,
            wanted.positions,
            wanted.input_ids,
            wanted.features,
            wanted.count,
            want_logits=wanted.want_logits,
        )
    if isinstance(wanted, Verify):
        return runtime.verify(
            wanted.state, wanted.token_ids, wanted.count, want_logits=wanted.want_logits
        )
    if isinstance(wanted, Score):
        return runtime.score(wanted.state, wanted.tree, wanted.asked)
    if isinstance(wanted, Look):
        return runtime.looks(wanted.state, wanted.length, wanted.token_ids, wanted.layers)
    return runtime.decode(wanted.state, wanted.token_id, want_logits=wanted.want_logits)


def group_passes(
    runtime: Runtime[Any], wanted: Sequence[Pass], max_batch: int
) -> Iterator[list[int]]:
    """Yield groups of indices of `wanted` that are best run together; each index once.

    A group has at most `max_batch` passes: decodes if the runtime can batch them, or encodes of
    one side up to the runtime's number of tiles. Prefills are of different lengths and run alone.
    """
    decodes = [index for index, each in enumerate(wanted) if isinstance(each, Decode)]
    decode_batch = max_batch if "batch" in runtime.capabilities else 1
    for first in range(0, len(decodes), decode_batch):
        yield decodes[first : first + decode_batch]
    encodes: dict[int, list[int]] = {}
    tiles: Counter[int] = Counter()
    for index, each in enumerate(wanted):
        if isinstance(each, Encode):
            count, _, _, side = each.pixel_values.shape
            is_full = tiles[side] + count > runtime.tiles_per_pass
            if side in encodes and (is_full or len(encodes[side]) == max_batch):
                yield encodes.pop(side)
                tiles[side] = 0
            encodes.setdefault(side, []).append(index)
            tiles[side] += count
        elif not isinstance(each, Decode):
            yield [index]
    yield from encodes.values()


def run_group(runtime: Any, group: Sequence[Pass]) -> list[Any]:
    """Run a group from `group_passes`; return one output per pass. All fail if one fails."""
    if len(group) == 1:
        return [run_pass(runtime, group[0])]
    decodes = [each for each in group if isinstance(each, Decode)]
    if decodes:
        outputs: list[Any] = runtime.decode_batch(
            [each.state for each in decodes],
            [each.token_id for each in decodes],
            want_logits=any(each.want_logits for each in decodes),
        )
        return outputs
    tiles = [each.pixel_values for each in group if isinstance(each, Encode)]
    features = runtime.encode_image(np.concatenate(tiles))
    rows_per_tile = len(features) // sum(map(len, tiles))
    ends = np.cumsum([len(each) * rows_per_tile for each in tiles])
    return [
        features[end - len(each) * rows_per_tile : end]
        for each, end in zip(tiles, ends.tolist(), strict=True)
    ]
