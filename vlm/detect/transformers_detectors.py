"""Detectors of whatever a text names, run by transformers: OWLv2 and Grounding DINO.

Their processors of transformers make the inputs and read the outputs; nothing here repeats them.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from vlm.checkpoints.hub_models import HubModel
from vlm.detect.boxes import Corners, Scores, distinct_boxes
from vlm.detect.coco import DISPLAY_THRESHOLDS
from vlm.errors import BadRequestError, CheckpointError, first_line
from vlm.results import Box
from vlm.runtimes.accelerator import CHECK

_MAX_PHRASES: Final = 80
_MAX_PHRASE_CHARS: Final = 100

# Transformers' own, as its documentation shows them; scores of different detectors do not compare.
_OWLV2_THRESHOLD: Final = 0.1
_GROUNDING_THRESHOLD: Final = 0.25
# The form of text that transformers' documentation of OWLv2 shows.
_OWLV2_TEXT: Final = "a photo of a {}"


class _TextDetector(ABC):
    """`Detector` of what phrases name. Frames of several threads run one after the other."""

    classes: tuple[str, ...] = ()

    def __init__(self, name: str, folder: Path, device: str) -> None:
        """Load the model in `folder`; raise CheckpointError. "auto" is CUDA, else the CPU."""
        import torch
        from transformers import AutoModelForZeroShotObjectDetection

        from vlm.runtimes.torch.eager import load_model

        self.name = name
        if device == "auto":
            # Not what torch says: a card that has failed is not used again.
            found = CHECK.result().device or "cpu"
            device = found if found.startswith("cuda") else "cpu"
        self._model = load_model(
            folder, torch.float32, device, model_class=AutoModelForZeroShotObjectDetection
        )
        try:
            self._processor = self._load_processor(folder)
        except Exception as error:
            # Many kinds, depending on the damaged file.
            raise CheckpointError(
                f"The processor in {folder} cannot be loaded: {first_line(error)}."
            ) from error
        # Guards the tokenizer, which cannot be shared, and bounds the memory of activations.
        self._lock = threading.Lock()

    def detect(self, image: Image.Image, phrases: Sequence[str] = ()) -> list[Box]:
        """Return the boxes of what `phrases` name, by default of the 80 things of COCO.

        Raise BadRequestError if they are too many, or one is too long.
        """
        import torch

        wanted = checked_phrases(phrases) or tuple(DISPLAY_THRESHOLDS)
        with self._lock, torch.inference_mode():
            inputs = self._inputs(image, wanted)
            outputs = self._model(**inputs.to(self._model.device))
            names, scores, corners = self.found(outputs, inputs, image.size, wanted)
        return distinct_boxes(names, scores, corners, image.size)

    @abstractmethod
    def _load_processor(self, folder: Path) -> Any: ...

    @abstractmethod
    def _inputs(self, image: Image.Image, phrases: Sequence[str]) -> Any:
        """Return the model's inputs for a frame."""

    @abstractmethod
    def found(
        self, outputs: Any, inputs: Any, size: tuple[int, int], phrases: Sequence[str]
    ) -> tuple[list[str], Scores, Corners]:
        """Return names, scores and corners in pixels of a frame of `size`, one for each query."""


class Owlv2(_TextDetector):
    """OWLv2: each phrase is a text of its own."""

    def _load_processor(self, folder: Path) -> Any:
        from transformers import CLIPTokenizer, Owlv2Processor
        from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

        images = Owlv2ImageProcessorPil.from_pretrained(folder, local_files_only=True)
        texts = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        return Owlv2Processor(images, texts)

    def _inputs(self, image: Image.Image, phrases: Sequence[str]) -> Any:
        texts = [_OWLV2_TEXT.format(phrase) for phrase in phrases]
        longest = self._model.config.text_config.max_position_embeddings
        for phrase, text in zip(phrases, texts, strict=True):
            if len(self._processor.tokenizer(text, verbose=False).input_ids) > longest:
                raise BadRequestError(_too_long(phrase))
        return self._processor(images=image, text=[texts], max_length=longest, return_tensors="pt")

    def found(
        self, outputs: Any, inputs: Any, size: tuple[int, int], phrases: Sequence[str]
    ) -> tuple[list[str], Scores, Corners]:
        (result,) = self._processor.post_process_grounded_object_detection(
            outputs, _OWLV2_THRESHOLD, [size[::-1]], [list(phrases)]
        )
        corners = _numbers(result["boxes"]).astype(float)
        return result["text_labels"], _numbers(result["scores"]), corners


class GroundingDino(_TextDetector):
    """Grounding DINO: all phrases are one text, and each query has a score for each token."""

    def _load_processor(self, folder: Path) -> Any:
        from transformers import BertTokenizer, GroundingDinoProcessor
        from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
            GroundingDinoImageProcessorPil,
        )

        images = GroundingDinoImageProcessorPil.from_pretrained(folder, local_files_only=True)
        texts = BertTokenizer.from_pretrained(folder, local_files_only=True)
        return GroundingDinoProcessor(images, texts)

    def _inputs(self, image: Image.Image, phrases: Sequence[str]) -> Any:
        inputs = self._processor(images=image, text=[list(phrases)], return_tensors="pt")
        if inputs["input_ids"].shape[1] > self._model.config.max_text_len:
            raise BadRequestError("The phrases are too long together. Name fewer things.")
        return inputs

    def found(
        self, outputs: Any, inputs: Any, size: tuple[int, int], phrases: Sequence[str]
    ) -> tuple[list[str], Scores, Corners]:
        import torch

        (result,) = self._processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=_GROUNDING_THRESHOLD,
            text_threshold=_GROUNDING_THRESHOLD,
            target_sizes=[size[::-1]],
        )
        # Transformers names a box with all tokens over the threshold, which can be half a phrase,
        # two phrases, or none. Here it is the phrase with the likeliest token.
        probabilities = outputs.logits[0].sigmoid()
        probabilities = probabilities[probabilities.max(-1).values > _GROUNDING_THRESHOLD]
        tokens = self._tokens_of_phrases(inputs["input_ids"][0].tolist())
        of_phrases = torch.stack([probabilities[:, each].max(-1).values for each in tokens], -1)
        likeliest = of_phrases.max(-1)
        is_named = _numbers(likeliest.values) > _GROUNDING_THRESHOLD
        names = [phrases[index] for index in likeliest.indices.cpu()[is_named]]
        scores, corners = _numbers(result["scores"]), _numbers(result["boxes"])
        return names, scores[is_named], corners[is_named].astype(float)

    def _tokens_of_phrases(self, input_ids: Sequence[int]) -> list[slice]:
        """Return where the tokens of each phrase are: a phrase ends with a full stop."""
        full_stop = self._processor.tokenizer.convert_tokens_to_ids(".")
        ends = [place for place, token in enumerate(input_ids) if token == full_stop]
        # The text begins with a token of its own.
        starts = [1, *(end + 1 for end in ends)]
        return [slice(start, end) for start, end in zip(starts, ends, strict=False)]


def checked_phrases(phrases: Sequence[str]) -> tuple[str, ...]:
    """Return `phrases` without full stops, empty ones and repetitions; raise BadRequestError."""
    cleaned = dict.fromkeys(" ".join(phrase.replace(".", " ").split()) for phrase in phrases)
    cleaned.pop("", None)
    if len(cleaned) > _MAX_PHRASES:
        raise BadRequestError(f"At most {_MAX_PHRASES} things can be looked for at once.")
    for phrase in cleaned:
        if len(phrase) > _MAX_PHRASE_CHARS:
            raise BadRequestError(_too_long(phrase))
    return tuple(cleaned)


def _too_long(phrase: str) -> str:
    return f"{phrase[:40]!r} is too long. Name the thing in a few words."


def _numbers(tensor: Any) -> Scores:
    numbers: Scores = tensor.float().cpu().numpy()
    return numbers


def load(detector: HubModel, folder: Path, device: str = "auto") -> Owlv2 | GroundingDino:
    """Return the `detector` whose files are in `folder`, loaded; raise CheckpointError."""
    detectors: dict[str, type[Owlv2 | GroundingDino]] = {
        "owlv2-base": Owlv2,
        "grounding-dino-tiny": GroundingDino,
    }
    return detectors[detector.name](detector.name, folder, device)
