"""What an answer asks of the model, pass by pass, so that those of several answers can run as one.

An answer is written as `Steps`: a generator that yields a pass where it needs one, is sent what
came out of it, and yields what it makes in between.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np

from vlm.errors import SightlineError
from vlm.processing.image_processor import PixelValues
from vlm.runtimes.base import ImageFeatures, KVState, Runtime


@dataclass(frozen=True)
class Encode:
    """`pixel_values`, [tiles, 3, side, side], to their ImageFeatures."""

    pixel_values: PixelValues


@dataclass(frozen=True)
class Prefill:
    """A fresh state that holds `input_ids`, and the choices after the last ones."""

    input_ids: Sequence[int]
    features: Sequence[ImageFeatures]
    choices: int


@dataclass(frozen=True)
class Verify:
    """`token_ids` appended to `state`; the choices after the last ones."""

    state: KVState
    token_ids: Sequence[int]
    choices: int


@dataclass(frozen=True)
class Decode:
    """`token_id` appended to `state`; the choice that follows."""

    state: KVState
    token_id: int


Pass: TypeAlias = Encode | Prefill | Verify | Decode
PASSES: Final = (Encode, Prefill, Verify, Decode)

T = TypeVar("T")
Steps: TypeAlias = Generator[Pass | T, Any, None]


class SharedPassError(SightlineError):
    """A pass that several answers shared has failed, whoever's fault it was; the state is lost."""

    code = "shared_pass_failed"


def run_alone(runtime: Runtime[Any], steps: Steps[T]) -> Iterator[T]:
    """What `steps` makes, each of its passes run for it alone."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, PASSES):
                step = steps.send(run_pass(runtime, step))
            else:
                yield step
                step = next(steps)
    except StopIteration:
        return
    finally:
        steps.close()


def run_pass(runtime: Runtime[Any], wanted: Pass) -> Any:
    """What comes out of one pass; raises what the runtime raises."""
    if isinstance(wanted, Encode):
        return runtime.encode_image(wanted.pixel_values)
    if isinstance(wanted, Prefill):
        return runtime.prefill(wanted.input_ids, wanted.features, wanted.choices)
    if isinstance(wanted, Verify):
        return runtime.verify(wanted.state, wanted.token_ids, wanted.choices)
    return runtime.decode_one_token(wanted.state, wanted.token_id)


def grouped(runtime: Runtime[Any], wanted: Sequence[Pass], most: int) -> Iterator[list[int]]:
    """The indices of the passes in `wanted` that are best run together; each index once.

    No group has more than `most`.
    """
    decodes = [index for index, each in enumerate(wanted) if isinstance(each, Decode)]
    for first in range(0, len(decodes), most):
        yield decodes[first : first + most]
    encodes: list[int] = []
    tiles = 0
    for index, each in enumerate(wanted):
        if isinstance(each, Encode):
            is_full = tiles + len(each.pixel_values) > runtime.tiles_per_pass
            if encodes and (is_full or len(encodes) == most):
                yield encodes
                encodes, tiles = [], 0
            encodes.append(index)
            tiles += len(each.pixel_values)
        elif not isinstance(each, Decode):
            yield [index]
    if encodes:
        yield encodes


def run_group(runtime: Runtime[Any], group: Sequence[Pass]) -> list[Any]:
    """What comes out of each pass of a group that `grouped` has made; all fail where one does."""
    if len(group) == 1:
        return [run_pass(runtime, group[0])]
    decodes = [each for each in group if isinstance(each, Decode)]
    if decodes:
        return runtime.decode_many(
            [each.state for each in decodes], [each.token_id for each in decodes]
        )
    tiles = [each.pixel_values for each in group if isinstance(each, Encode)]
    features = runtime.encode_image(np.concatenate(tiles))
    rows_per_tile = len(features) // sum(map(len, tiles))
    ends = np.cumsum([len(each) * rows_per_tile for each in tiles])
    return [
        features[end - len(each) * rows_per_tile : end]
        for each, end in zip(tiles, ends.tolist(), strict=True)
    ]
