"""The bundled dual encoder: a head over nano's image tokens, and a small text tower, on OpenVINO.

`python -m tools.nano.train_pair` trained it. nano's own vision encoder stays as it is, so a frame
that nano has captioned costs this model only its head.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlm.checkpoints.catalogue import BUNDLED_FOLDER
from vlm.checkpoints.pairs import BUNDLED_PAIR
from vlm.errors import first_line
from vlm.pairs.pair import Vectors
from vlm.processing.image_processor import ImageProcessor
from vlm.processing.tokenizer import Tokenizer
from vlm.runtimes.openvino.platform import (
    OpenVinoUnavailableError,
    compile_on_cpu,
    core,
    precision_here,
)
from vlm.runtimes.openvino.runtime import load_vision

FOLDER: Final = Path(__file__).parent / "nano_pair"
MAX_TOKENS: Final = 48

Features = npt.NDArray[np.float32]

# One thread leaves the other cores to captions.
_PROPERTIES: Final = {
    "INFERENCE_NUM_THREADS": 1,
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "ENABLE_CPU_PINNING": False,
}


class NanoPair:
    """`Pair` for what nano was taught: drawn shapes, colours, and the states of a camera."""

    name = BUNDLED_PAIR
    loss: Literal["sigmoid", "softmax"] = "sigmoid"

    def __init__(self, folder: Path = FOLDER) -> None:
        """Load the towers in `folder`; raise OpenVinoUnavailableError, CheckpointError."""
        try:
            model = core().read_model(folder / "image.xml")
            self.scale, self.bias = (
                float(model.get_rt_info(name).value) for name in ("scale", "bias")
            )
            image = compile_on_cpu(model, _PROPERTIES)
            text = compile_on_cpu(folder / "text.xml", _PROPERTIES)
        except (ImportError, OSError, RuntimeError) as error:
            raise OpenVinoUnavailableError(
                f"{BUNDLED_PAIR} cannot be loaded: {first_line(error)}."
            ) from error
        self._image: Any = image.create_infer_request()
        self._text: Any = text.create_infer_request()
        self.width: int = image.outputs[0].get_partial_shape()[1].get_length()
        self._tokenizer = Tokenizer.load(BUNDLED_FOLDER)
        self._encoder: NanoEncoder | None = None
        # Guards the requests with their tensors, the tokenizer and the encoder.
        self._lock = threading.Lock()

    def image_vectors(self, images: Sequence[Image.Image]) -> Vectors:
        """See `Pair`; nano's vision encoder is loaded at the first call, about 10 ms a picture."""
        with self._lock:
            if self._encoder is None:
                self._encoder = NanoEncoder()
            features = [self._encoder.features(image) for image in images]
        return self.vectors_of(features)

    def vectors_of(self, features: Sequence[Features]) -> Vectors:
        """Return the vectors of pictures whose image tokens nano has, each [tokens, 192]."""
        if not features:
            return np.zeros((0, self.width), np.float32)
        with self._lock:
            # One at a time: a batch would need memory for all of them.
            return np.concatenate(
                [self._image.infer([each[None]])["vectors"].copy() for each in features]
            )

    def text_vectors(self, texts: Sequence[str]) -> Vectors:
        """See `Pair`."""
        if not texts:
            return np.zeros((0, self.width), np.float32)
        with self._lock:
            vectors: Vectors = self._text.infer([token_ids(self._tokenizer, texts)])[
                "vectors"
            ].copy()
        return vectors


class NanoEncoder:
    """nano's vision encoder and connector without its text model. One thread may call it."""

    def __init__(self) -> None:
        """Load it; raise OpenVinoUnavailableError, CheckpointError."""
        self._vision = load_vision(BUNDLED_FOLDER, precision_here("auto", 1), threads=1)
        self._processor = ImageProcessor.load(BUNDLED_FOLDER)

    def features(self, image: Image.Image) -> Features:
        """Return the image tokens of an upright RGB image, [64, 192]."""
        return self._vision.encode(self._processor.pixel_values(image, "low"))


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the ids of nano's `tokenizer`, [texts, longest], 0 behind the end of a text.

    Texts are read in lower case: people search in any. At most MAX_TOKENS are read.
    """
    rows = [tokenizer.encode_typed(text.lower())[:MAX_TOKENS] for text in texts]
    ids = np.zeros((len(rows), max(1, *map(len, rows))), np.int64)
    for row, of_text in zip(ids, rows, strict=True):
        row[: len(of_text)] = of_text
    return ids
