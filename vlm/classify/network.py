"""EfficientNet-Lite0 on OpenVINO: pictures in, probabilities and features out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from vlm.classify.words import Floats
from vlm.errors import ModelFailedError, first_line
from vlm.runtimes.openvino.platform import compile_on_cpu, openvino_here

MODEL: Final = Path(__file__).parent / "efficientnet" / "model.xml"
SIDE_PX: Final = 224
# A second thread saves a third of the time on two idle cores and takes it from captions.
_THREADS: Final = 1


class Network:
    """The network with its weights. Thread-safe; one picture at a time."""

    def __init__(self, path: Path = MODEL) -> None:
        """Load the network; raise ModelFailedError or OpenVinoUnavailableError."""
        has_bfloat16 = openvino_here().has_bfloat16
        properties = {
            # Fixed, so that equal pictures get equal probabilities from each start to the next.
            "INFERENCE_PRECISION_HINT": "bf16" if has_bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": _THREADS,
            "NUM_STREAMS": 1,
            # Else all small models would have their one thread on the same core.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            compiled = compile_on_cpu(path, properties)
        except RuntimeError as error:
            raise ModelFailedError(
                f"The classifier of {path} cannot be loaded: {first_line(error)}."
            ) from error
        self._request: Any = compiled.create_infer_request()
        self._lock = threading.Lock()

    def run(self, pictures: Sequence[Image.Image]) -> tuple[Floats, Floats]:
        """Return probabilities [n, 1000] and features [n, 1280] of RGB pictures of `SIDE_PX`."""
        probabilities, features = [], []
        with self._lock:
            for picture in pictures:
                # A batch of two takes as long as two passes.
                outputs = self._request.infer([np.asarray(picture)[None]])
                # Copies: the request's memory is used again by the next picture.
                probabilities.append(outputs["probabilities"][0].copy())
                features.append(outputs["features"][0].copy())
        return np.stack(probabilities), np.stack(features)
