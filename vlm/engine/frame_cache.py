"""The newest few frames, encoded once for many questions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from PIL import Image

from vlm.runtimes.base import MAX_CACHED_BYTES, ImageFeatures, KVState
from vlm.types import Detail


@dataclass
class EncodedFrame:
    """The features of a frame, and the state of the last chat that ended with it, if any."""

    features: Sequence[ImageFeatures]
    state: KVState | None = None
    state_ids: Sequence[int] = ()
    """The tokens that `state` holds."""
    state_images: Sequence[bytes] = ()
    """The keys of the images among them."""

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        kept = self.state.nbytes if self.state else 0
        return kept + sum(int(each.nbytes) for each in self.features)

    def known_tokens(self, input_ids: Sequence[int]) -> int:
        """Return how many of the first `input_ids` the state holds; never all, one must be fed."""
        known = 0
        for held, wanted in zip(self.state_ids, input_ids[:-1], strict=False):
            if held != wanted:
                break
            known += 1
        return known


class FrameCache:
    """Frames by their pixels, at most `max_bytes` together; the oldest are evicted first."""

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._frames: OrderedDict[bytes, EncodedFrame] = OrderedDict()

    @staticmethod
    def key(image: Image.Image, detail: Detail) -> bytes:
        """Return a key that differs for any other RGB frame or detail."""
        return blake2b(
            image.tobytes(), digest_size=24, person=f"{detail} {image.width}".encode()
        ).digest()

    @property
    def nbytes(self) -> int:
        """Memory of all frames in bytes."""
        return sum(frame.nbytes for frame in self._frames.values())

    def get(self, key: bytes) -> EncodedFrame | None:
        """Return the frame of `key`, which becomes the newest, or None."""
        if key in self._frames:
            self._frames.move_to_end(key)
        return self._frames.get(key)

    def put(self, key: bytes, frame: EncodedFrame) -> None:
        """Keep `frame` as the newest; evict the oldest beyond the bound."""
        self._frames[key] = frame
        self._frames.move_to_end(key)
        while self._frames and self.nbytes > self._max_bytes:
            self._frames.popitem(last=False)
