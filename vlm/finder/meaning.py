"""Vectors of pictures and texts, by the dual encoder and what the loaded model has encoded."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from vlm.checkpoints.catalogue import BUNDLED_MODEL
from vlm.checkpoints.pairs import BUNDLED_PAIR, NO_PAIR
from vlm.errors import SightlineError
from vlm.finder.parts import Part
from vlm.results import Embedded
from vlm.scheduler.worker import Worker
from vlm.types import EmbedTask, Request

if TYPE_CHECKING:
    from PIL import Image

    from vlm.pairs.nano_pair import NanoPair
    from vlm.pairs.pair import Pair, Vectors

Vector = npt.NDArray[np.float32]

# The probability from which on a picture is worth showing for a text, by SigLIP's loss.
_LEAST_PROBABILITY: Final = 0.1
# CLIP's loss gives no probability; by its authors' examples matches have cosines over 0.2.
_SOFTMAX_FLOOR: Final = 0.2
# So long a picture waits for the worker; then the dual encoder's own encoder sees it.
_WAIT_S: Final = 5.0


class Meaning:
    """The dual encoder of a process. Safe from any thread but the worker's.

    `embed_text` and `embed_image` are for searches, which go on without it. The other methods raise
    PartOffError, PartFailedError or NotReadyError.
    """

    def __init__(self, pair: Part[Pair], worker: Worker | None = None) -> None:
        """`worker` runs the captioning model; None if no encoder can be shared with it."""
        self._pair = pair
        self._worker = worker
        self._lock = threading.Lock()
        self._loading: threading.Thread | None = None

    @property
    def space(self) -> str:
        """The name of the dual encoder: vectors of two of them do not compare."""
        return self._pair.name or NO_PAIR

    @property
    def floor(self) -> float:
        """The least cosine of a picture and a text that may be true of it."""
        pair = self._ready()
        if pair is None:
            return 1.0
        if pair.loss == "softmax":
            return _SOFTMAX_FLOOR
        return (math.log(_LEAST_PROBABILITY / (1 - _LEAST_PROBABILITY)) - pair.bias) / pair.scale

    def embed_text(self, text: str) -> Vector | None:
        """Return a vector of length 1, [width]; None if there is no dual encoder, or not yet."""
        return None if self._ready() is None else self._quietly(self.text_vectors, text)

    def embed_image(self, image: Image.Image) -> Vector | None:
        """As `embed_text`, of an upright RGB image."""
        return None if self._ready() is None else self._quietly(self.image_vectors, image)

    def pair(self) -> Pair:
        """Return the dual encoder; the first call loads it."""
        return self._pair.get()

    def text_vectors(self, texts: Sequence[str]) -> Vectors:
        """Return vectors of length 1, [texts, width]."""
        return self._pair.call(lambda pair: pair.text_vectors(texts))

    def image_vectors(self, images: Sequence[Image.Image]) -> Vectors:
        """Return vectors of length 1, [images, width], of upright RGB images.

        If the loaded model is the one whose encoder the bundled dual encoder shares, a picture that
        it has encoded costs a head only.
        """

        def vectors(pair: Pair) -> Vectors:
            from vlm.pairs.nano_pair import NanoPair

            made = [
                self._by_worker(pair, image) if isinstance(pair, NanoPair) else None
                for image in images
            ]
            rows = [
                pair.image_vectors([image]) if each is None else each
                for image, each in zip(images, made, strict=True)
            ]
            return np.concatenate([np.zeros((0, pair.width), np.float32), *rows])

        return self._pair.call(vectors)

    def _by_worker(self, pair: NanoPair, image: Image.Image) -> Vectors | None:
        """Return the vector of a picture by the loaded model's encoder; None if it is another."""
        info = None if self._worker is None else self._worker.info
        if self._worker is None or info is None or info.model != BUNDLED_MODEL:
            return None
        try:
            with closing(self._worker.submit(Request(EmbedTask(image)))) as stream:
                event = stream.next(_WAIT_S)
        except SightlineError:
            return None
        if not isinstance(event, Embedded) or not len(event.features):
            return None
        return pair.vectors_of([event.features])

    def _ready(self) -> Pair | None:
        """Return the dual encoder if that takes no download; begin the download if it does."""
        if not self._pair.is_usable:
            return None
        if self._pair.name != BUNDLED_PAIR and not self._pair.status.is_loaded:
            with self._lock:
                if self._loading is None:
                    self._loading = threading.Thread(
                        target=self._load, name="dual-encoder-load", daemon=True
                    )
                    self._loading.start()
            return None
        try:
            return self._pair.get()
        except SightlineError:
            return None

    def _load(self) -> None:
        # The part has told a failure.
        with suppress(SightlineError):
            self._pair.get()

    def _quietly(self, vectors: Callable[[Sequence[Any]], Vectors], each: object) -> Vector | None:
        try:
            vector: Vector = vectors([each])[0]
            return vector
        except SightlineError:
            return None
