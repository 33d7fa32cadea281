"""The bundled detector: NanoDet-g on OpenVINO, for the 80 things of COCO."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
from PIL import Image

from vlm.checkpoints.detectors import BUNDLED_DETECTOR
from vlm.detect.boxes import Corners, Scores, distinct_boxes
from vlm.detect.coco import DISPLAY_THRESHOLDS
from vlm.errors import first_line
from vlm.results import Box
from vlm.runtimes.openvino.platform import (
    OpenVinoUnavailableError,
    compile_on_cpu,
    openvino_here,
)

MODEL_FILE: Final = Path(__file__).parent / "nanodet" / "nanodet.xml"
SIDE_PX: Final = 416
Precision = Literal["f32", "bf16"]

_LOWEST_SCORE: Final = 0.25


class NanoDet:
    """`Detector` of the 80 things of COCO. Frames of several threads run one after the other."""

    name = BUNDLED_DETECTOR
    classes = tuple(DISPLAY_THRESHOLDS)

    def __init__(self, threads: int = 1, precision: Precision | None = None) -> None:
        """Load the model; raise OpenVinoUnavailableError if OpenVINO does not run it.

        One thread leaves the other cores to captions. `precision` is by default bf16 if the CPU has
        instructions for it: half the time, scores within 0.03 of f32.
        """
        try:
            if precision is None:
                precision = "bf16" if openvino_here().has_bfloat16 else "f32"
            properties = {
                "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": precision,
                "PERFORMANCE_HINT": "LATENCY",
                "ENABLE_CPU_PINNING": False,
            }
            compiled = compile_on_cpu(MODEL_FILE, properties)
        except (ImportError, OSError, RuntimeError) as error:
            raise OpenVinoUnavailableError(
                f"The detector {self.name} cannot be loaded: {first_line(error)}."
            ) from error
        self._request = compiled.create_infer_request()
        # Guards the request with its input and output tensors.
        self._lock = threading.Lock()

    def detect(self, image: Image.Image, phrases: Sequence[str] = ()) -> list[Box]:
        """Return the boxes from a score of 0.25 on; see `Detector.detect`."""
        inside = letterbox(image)
        with self._lock:
            self._request.infer([np.asarray(inside.square)[None]], share_inputs=True)
            # Views of memory that the next frame overwrites; what leaves the lock is a copy.
            all_scores: Scores = self._request.get_tensor("scores").data[0]
            best = all_scores.max(1)
            places = np.flatnonzero(best >= _LOWEST_SCORE)
            scores, kinds = best[places], all_scores[places].argmax(1)
            corners: Corners = self._request.get_tensor("boxes").data[0, places].astype(float)
        corners -= [inside.left, inside.top, inside.left, inside.top]
        names = [self.classes[kind] for kind in kinds]
        return distinct_boxes(names, scores, corners, (inside.width, inside.height))


class Letterboxed(NamedTuple):
    """A frame scaled into the centre of a black square."""

    square: Image.Image
    left: int
    top: int
    width: int
    height: int


def letterbox(image: Image.Image) -> Letterboxed:
    """Return `image` letterboxed to a square of SIDE_PX; a stretched one has more mistakes."""
    scale = SIDE_PX / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    left, top = (SIDE_PX - width) // 2, (SIDE_PX - height) // 2
    square = Image.new("RGB", (SIDE_PX, SIDE_PX))
    # With the gap Pillow halves large images first: 7 instead of 12 ms for 2048 x 1536.
    small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    square.paste(small, (left, top))
    return Letterboxed(square, left, top, width, height)
