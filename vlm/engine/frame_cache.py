"""The newest few frames, encoded once for many questions, and their tiles for later frames."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlm.runtimes.base import MAX_CACHED_BYTES, ImageFeatures, KVState
from vlm.types import Detail

_KEY_BYTES: Final = 24
# A frame of 17 tiles with a long chat: 1,332 tokens of SmolVLM-256M's shape take 117 MiB.
_LARGEST_STATE_BYTES: Final = 128 * 2**20


@dataclass
class EncodedFrame:
    """The features of a frame, and the state of the last chat that ended with it, if any."""

    features: Sequence[ImageFeatures]
    """Of each tile."""
    state: KVState | None = None
    state_ids: Sequence[int] = ()
    """The tokens that `state` holds."""
    state_images: Sequence[bytes] = ()
    """The keys of the images among them."""

    def tiles_in_common(self, features: Sequence[ImageFeatures]) -> int:
        """Return how many of the first tiles of another frame are this one's."""
        common = 0
        for ours, theirs in zip(self.features, features, strict=False):
            if ours is not theirs:
                break
            common += 1
        return common

    def known_tokens(self, input_ids: Sequence[int]) -> int:
        """Return how many of the first `input_ids` the state holds; never all, one must be fed."""
        known = 0
        for held, wanted in zip(self.state_ids, input_ids[:-1], strict=False):
            if held != wanted:
                break
            known += 1
        return known


@dataclass(frozen=True)
class Start:
    """The first tokens of a prompt, in the state of another one."""

    state: KVState
    tokens: int
    tiles: int
    """Tiles that are whole among the tokens."""


class FrameCache:
    """Frames by their pixels, at most `max_bytes` together; the oldest are evicted first.

    The newest state is not counted, since that of a frame of many tiles is large. Frames that have
    equal tiles share their features.
    """

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._frames: OrderedDict[bytes, EncodedFrame] = OrderedDict()
        # Kept by the frames alone: a tile ends with the last frame that has it.
        self._tiles: WeakValueDictionary[bytes, ImageFeatures] = WeakValueDictionary()

    @staticmethod
    def key(image: Image.Image, detail: Detail) -> bytes:
        """Return a key that differs for any other RGB frame or detail."""
        return blake2b(
            image.tobytes(), digest_size=_KEY_BYTES, person=f"{detail} {image.width}".encode()
        ).digest()

    @staticmethod
    def tile_key(tile: npt.NDArray[np.uint8]) -> bytes:
        """Return a key that differs for any other tile, [side, side, 3]."""
        return blake2b(tile.data, digest_size=_KEY_BYTES).digest()

    @property
    def nbytes(self) -> int:
        """Memory of all frames in bytes."""
        return _nbytes(self._frames.values())

    def get(self, key: bytes) -> EncodedFrame | None:
        """Return the frame of `key`, which becomes the newest, or None."""
        if key in self._frames:
            self._frames.move_to_end(key)
        return self._frames.get(key)

    def tile(self, key: bytes) -> ImageFeatures | None:
        """Return the features of the tile of `key` if a frame has it, or None."""
        return self._tiles.get(key)

    def note_tile(self, key: bytes, features: ImageFeatures) -> None:
        """Let later frames find the features of a tile, as long as a frame keeps them."""
        self._tiles[key] = features

    def put(self, key: bytes, frame: EncodedFrame) -> None:
        """Keep `frame` as the newest; evict the oldest beyond the bound.

        A state that does not fit is dropped without its features.
        """
        if frame.state and frame.state.nbytes > _LARGEST_STATE_BYTES:
            frame = EncodedFrame(frame.features)
        self._frames[key] = frame
        self._frames.move_to_end(key)
        for each in [each for each in self._frames.values() if each.state][:-1]:
            if _nbytes([each]) > self._max_bytes:
                each.state = None
        while self._frames and self.nbytes - self._newest_state_bytes() > self._max_bytes:
            self._frames.popitem(last=False)

    def _newest_state_bytes(self) -> int:
        states = (each.state.nbytes for each in reversed(self._frames.values()) if each.state)
        return next(states, 0)

    def longest_start(
        self, input_ids: Sequence[int], features: Sequence[ImageFeatures], image_token_id: int
    ) -> Start | None:
        """Return the most that a kept state shares with a prompt about one image, or None.

        `features` are those of the image's tiles.
        """
        is_image = np.asarray(input_ids) == image_token_id
        ends = np.append(np.flatnonzero(is_image), len(input_ids))
        best: Start | None = None
        for frame in self._frames.values():
            if frame.state is not None and len(frame.state_images) == 1:
                tiles = frame.tiles_in_common(features)
                known = min(
                    frame.known_tokens(input_ids), int(ends[sum(map(len, features[:tiles]))])
                )
                if best is None or known > best.tokens:
                    best = Start(frame.state, known, tiles)
        return best


def _nbytes(frames: Iterable[EncodedFrame]) -> int:
    """Return the memory of `frames` in bytes; tiles that they share count once."""
    states = 0
    tiles: dict[int, int] = {}
    for frame in frames:
        states += frame.state.nbytes if frame.state else 0
        tiles |= {id(each): int(each.nbytes) for each in frame.features}
    return states + sum(tiles.values())
