"""The newest few frames as the model knows them: encoded once, asked many times."""

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
    """What encoding a frame gave, and the state of the last chat that ended with it, if any.

    `state_ids` are the tokens that `state` holds, `state_images` the keys of the images among them.
    """

    features: Sequence[ImageFeatures]
    state: KVState | None = None
    state_ids: Sequence[int] = ()
    state_images: Sequence[bytes] = ()

    @property
    def nbytes(self) -> int:
        """The memory that it keeps."""
        kept = self.state.nbytes if self.state else 0
        return kept + sum(int(each.nbytes) for each in self.features)

    def known_tokens(self, input_ids: Sequence[int]) -> int:
        """How many of the first `input_ids` the state holds; never all, one is left to feed."""
        known = 0
        for held, wanted in zip(self.state_ids, input_ids[:-1], strict=False):
            if held != wanted:
                break
            known += 1
        return known


class FrameCache:
    """Frames by their pixels, at most `max_bytes` of them together; the oldest go first."""

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._frames: OrderedDict[bytes, EncodedFrame] = OrderedDict()

    @staticmethod
    def key(image: Image.Image, detail: Detail) -> bytes:
        """What tells one RGB frame at one detail from all others."""
        return blake2b(
            image.tobytes(), digest_size=24, person=f"{detail} {image.width}".encode()
        ).digest()

    @property
    def nbytes(self) -> int:
        """The memory that all frames keep."""
        return sum(frame.nbytes for frame in self._frames.values())

    def get(self, key: bytes) -> EncodedFrame | None:
        """The frame of `key`, which counts as the newest from now on."""
        if key in self._frames:
            self._frames.move_to_end(key)
        return self._frames.get(key)

    def put(self, key: bytes, frame: EncodedFrame) -> None:
        """Keep `frame` as the newest, and drop what there is no more room for."""
        self._frames[key] = frame
        self._frames.move_to_end(key)
        while self._frames and self.nbytes > self._max_bytes:
            self._frames.popitem(last=False)
