"""The reader: PP-OCR's models by rapidocr, on OpenVINO.

Three instances of RapidOCR each have one job: find lines in parts of the frame, tell which are
upside down, and read one line. So a line that a part cuts is read as a whole, and its text does not
depend on the other lines. Options are given to the constructors only: rapidocr keeps those of a
call for later calls.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from vlm.errors import ReaderUnavailableError, first_line
from vlm.reading.cutouts import SIDE_PX, cut_outs, padded
from vlm.reading.plausible import MAX_LINES, is_plausible
from vlm.reading.strips import Strip, in_reading_order, merged
from vlm.results import TextLine
from vlm.runtimes.openvino.platform import COMPILING, compile_on_cpu, core

MODELS: Final = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
}
# The classifier is this sure that a line is upside down (rapidocr's default).
_LEAST_TURNED: Final = 0.9
# A text with this score is read the right way up.
_SURE: Final = 0.9
# Shapes whose kernels stay compiled, of each model. Without a bound every new width of a line adds
# some (docs/experiments.md).
_CACHED_SHAPES: Final = 32

_Pixels = npt.NDArray[np.uint8]


class RapidOcrReader:
    """`Reader` by rapidocr. Frames of several threads are read one after the other."""

    def __init__(self, folder: Path | None = None, threads: int = 1) -> None:
        """Load the models in `folder`, by default those in rapidocr's package.

        Few `threads` leave the other cores to captions. Nothing is fetched from a network. Raise
        ReaderUnavailableError if a package or a file is missing or damaged.
        """
        # Guards the three engines and their tensors: rapidocr is not safe from several threads.
        self._lock = threading.Lock()
        try:
            self._find, self._turn, self._recognise = _engines(folder, threads)
        except Exception as error:
            # rapidocr raises errors of its own, of OpenVINO and of omegaconf.
            raise ReaderUnavailableError(
                f"The reader of text cannot be loaded: {first_line(error)}."
            ) from error

    def read(
        self, image: Image.Image, is_cancelled: Callable[[], bool] = lambda: False
    ) -> list[TextLine]:
        found = []
        with self._lock:
            if is_cancelled():
                return []
            whole = padded(image)
            for strip in self._strips(whole)[:MAX_LINES]:
                if is_cancelled():
                    return []
                found.append(self._read(whole, strip))
        lines = [each for each in found if is_plausible(each[1], each[2])]
        order = in_reading_order([strip for strip, _, _ in lines])
        return [
            TextLine(lines[index][1], lines[index][2], _box(lines[index][0], image.size))
            for index in order
        ]

    def _strips(self, image: Image.Image) -> list[Strip]:
        """Return where lines may be, the highest letters first."""
        parts = []
        for area in cut_outs(*image.size):
            found = self._find(_bgr(image.crop(area))).boxes
            # None if there is nothing.
            boxes = np.empty((0, 4, 2)) if found is None else np.asarray(found, np.float64)
            parts.append([Strip.of(box).moved(area[0], area[1]) for box in boxes])
        return sorted(merged(parts), key=lambda strip: -strip.height)

    def _read(self, image: Image.Image, strip: Strip) -> tuple[Strip, str, float]:
        """Return the strip, turned if it is upside down, its text and its score.

        The classifier alone is often wrong about long lines and about words such as EXIT. If it
        says "upside down", or if the text is doubtful, both ways are read and the surer one counts.
        """
        pixels = _bgr(strip.cut(image))
        label, sureness = self._turn(pixels).cls_res[0]
        text, score = self._recognised(pixels)
        if score < _SURE or (label == "180" and sureness > _LEAST_TURNED):
            other, other_score = self._recognised(np.ascontiguousarray(pixels[::-1, ::-1]))
            if other_score > score:
                return strip.turned, other, other_score
        return strip, text, score

    def _recognised(self, pixels: _Pixels) -> tuple[str, float]:
        """Return the text of one upright line and the mean probability of its letters."""
        read = self._recognise(pixels)
        return " ".join(read.txts[0].split()), float(read.scores[0])


def _bgr(image: Image.Image) -> _Pixels:
    """Return the pixels in the order of channels that rapidocr expects of an array."""
    return np.ascontiguousarray(np.asarray(image)[..., ::-1])


def _box(strip: Strip, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the upright box around `strip`, 0 to 1 of the frame."""
    corners = (strip.corners / size).clip(0, 1)
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    return float(x0), float(y0), float(x1), float(y1)


def _engines(folder: Path | None, threads: int) -> Sequence[Any]:
    """Return rapidocr's finder of lines, classifier of their direction, and recogniser."""
    # First: it disables telemetry, and the cores of rapidocr are then made after this one.
    core()
    import rapidocr

    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    models = folder or Path(rapidocr.__file__).parent / "models"
    properties = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "CPU_RUNTIME_CACHE_CAPACITY": _CACHED_SHAPES,
    }
    text = _picture_of_text()
    engines = []
    for model, stage in (("Det", "text_det"), ("Cls", "text_cls"), ("Rec", "text_rec")):
        engine = rapidocr.RapidOCR(params=_params(model, models))
        # The model is loaded by the first picture.
        with COMPILING:
            engine(text)
        # rapidocr passes no precision and no bound of the cache to OpenVINO, so its model is
        # compiled again. These attributes are not documented; a test compares the properties.
        session = getattr(engine, stage).session
        session.session = compile_on_cpu(session.model, properties).create_infer_request()
        engine(text)
        engines.append(engine)
    return engines


def _params(model: str, folder: Path) -> dict[str, object]:
    """Return rapidocr's options for an engine that runs `model` alone."""
    from rapidocr import EngineType

    return {
        "Global.use_det": model == "Det",
        "Global.use_cls": model == "Cls",
        "Global.use_rec": model == "Rec",
        # Sizes are ours: rapidocr enlarges, shrinks and pads.
        "Global.use_preprocess_img": False,
        "Global.use_vertical_padding": False,
        "Det.limit_type": "max",
        "Det.limit_side_len": SIDE_PX,
        "Global.log_level": "critical",
        f"{model}.engine_type": EngineType.OPENVINO,
        # With a path, rapidocr does not fetch a file that is missing or damaged.
        f"{model}.model_path": str(folder / MODELS[model]),
    }


def _picture_of_text() -> _Pixels:
    """Return a picture with a word: without one, rapidocr would not load the recogniser."""
    picture = Image.new("RGB", (192, 64), "white")
    ImageDraw.Draw(picture).text((24, 12), "TEXT", font=ImageFont.load_default(40), fill="black")
    return _bgr(picture)
