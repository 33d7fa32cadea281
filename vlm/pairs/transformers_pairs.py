"""CLIP and SigLIP by their checkpoints, converted for OpenVINO by transformers' classes.

Torch is needed for the conversion alone; transformers' own processors make the inputs.
"""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image

from vlm.errors import CheckpointError, first_line
from vlm.pairs.pair import Vectors
from vlm.runtimes.openvino.cache import default_cache_folder, get_conversion, seal
from vlm.runtimes.openvino.platform import (
    OpenVinoUnavailableError,
    compile_on_cpu,
    import_openvino,
    openvino_here,
)

_FACTS_FILE: Final = "pair.json"
_VARIANT: Final = "pair"
# CLIP's own: its authors' templates gain little more for a search.
_CLIP_TEMPLATE: Final = "a photo of a {}"
# In bfloat16, the plugin's default on CPUs that have it, vectors are off by up to 0.004.
_PROPERTIES: Final = {
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "LATENCY",
    "ENABLE_CPU_PINNING": False,
}


class TransformersPair:
    """`Pair` of a checkpoint of CLIP, SigLIP or SigLIP 2."""

    def __init__(self, name: str, folder: Path, cache_folder: Path | None = None) -> None:
        """Load the checkpoint in `folder`, converted before if the cache does not hold it.

        Raise CheckpointError or OpenVinoUnavailableError.
        """
        self.name = name
        try:
            self._source = get_conversion(
                folder,
                _VARIANT,
                openvino_here().version,
                lambda out: _convert_in_a_process(folder, out),
                cache_folder or default_cache_folder(),
            )
            made = self._source.folder
            self._image = compile_on_cpu(made / "image.xml", _PROPERTIES).create_infer_request()
            self._text = compile_on_cpu(made / "text.xml", _PROPERTIES).create_infer_request()
            facts = json.loads((made / _FACTS_FILE).read_text(encoding="utf-8"))
        except (OSError, RuntimeError) as error:
            raise OpenVinoUnavailableError(
                f"OpenVINO does not run {name}: {first_line(error)}."
            ) from error
        self.width: int = facts["width"]
        self.scale: float = facts["scale"]
        self.bias: float = facts["bias"]
        self.loss: Literal["sigmoid", "softmax"] = facts["loss"]
        self._text_tokens: int = facts["text_tokens"]
        try:
            self._processor, self._tokenizer = _processors(folder, self.loss)
        except Exception as error:
            # Many kinds, depending on the damaged file.
            raise CheckpointError(
                f"The processor in {folder} cannot be loaded: {first_line(error)}."
            ) from error
        # Guards the requests with their tensors, and the tokenizer.
        self._lock = threading.Lock()

    def image_vectors(self, images: Sequence[Image.Image]) -> Vectors:
        """See `Pair`."""
        vectors = np.zeros((len(images), self.width), np.float32)
        with self._lock:
            for row, image in zip(vectors, images, strict=True):
                pixels = self._processor(images=image, return_tensors="np")["pixel_values"]
                row[:] = self._image.infer([pixels])["vectors"][0]
        return vectors

    def text_vectors(self, texts: Sequence[str]) -> Vectors:
        """See `Pair`."""
        vectors = np.zeros((len(texts), self.width), np.float32)
        with self._lock:
            for row, text in zip(vectors, texts, strict=True):
                row[:] = self._text.infer([self._ids(text)])["vectors"][0]
        return vectors

    def _ids(self, text: str) -> Any:
        # Each was trained on lower case. SigLIP must see its padding: it has no mask.
        clean = text.lower()
        if self.loss == "softmax":
            clean = _CLIP_TEMPLATE.format(clean)
        return self._tokenizer(
            clean,
            padding="max_length" if self.loss == "sigmoid" else False,
            max_length=self._text_tokens,
            truncation=True,
            return_tensors="np",
        )["input_ids"].astype(np.int64)


def _processors(folder: Path, loss: str) -> tuple[Any, Any]:
    """Return transformers' image processor, without torchvision, and tokenizer."""
    from transformers import AutoTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    kind = CLIPImageProcessorPil if loss == "softmax" else SiglipImageProcessorPil
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return kind.from_pretrained(folder, local_files_only=True), tokenizer


def _convert_in_a_process(folder: Path, out: Path) -> None:
    """Write the conversion into `out` by a process of its own, whose memory ends with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(convert, folder, out).result()


def convert(folder: Path, out: Path) -> None:
    """Write both towers of the checkpoint in `folder`, in float32, and its facts into `out`.

    Raise CheckpointError.
    """
    import torch
    from transformers import AutoModel

    from vlm.runtimes.torch.eager import load_model

    class Tower(torch.nn.Module):
        """One tower, to vectors of length 1."""

        def __init__(self, features: Any) -> None:
            super().__init__()
            self.model = model
            self._features = features

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            vectors = self._features(inputs).pooler_output
            return torch.nn.functional.normalize(vectors, dim=-1)

    openvino = import_openvino()
    model = load_model(folder, torch.float32, "cpu", model_class=AutoModel)
    model.set_attn_implementation("eager")
    side, tokens = model.config.vision_config.image_size, _text_tokens(model)
    is_clip = model.config.model_type == "clip"
    # The published configurations of SigLIP name an end token beyond the vocabulary.
    ids = torch.zeros((1, tokens), dtype=torch.int64)
    towers = {
        "image": (
            Tower(lambda pixels: model.get_image_features(pixel_values=pixels)),
            torch.zeros(1, 3, side, side),
        ),
        "text": (Tower(lambda ids: model.get_text_features(input_ids=ids)), ids),
    }
    for name, (tower, example) in towers.items():
        shape = [1, -1] if is_clip and name == "text" else list(example.shape)
        with torch.no_grad():
            made = openvino.convert_model(tower.eval(), example_input=example, input=[shape])
        made.outputs[0].get_tensor().set_names({"vectors"})
        openvino.save_model(made, out / f"{name}.xml", compress_to_fp16=False)
    facts = {
        "width": int(made.outputs[0].get_partial_shape()[-1].get_length()),
        "scale": model.logit_scale.exp().item(),
        "bias": 0.0 if is_clip else model.logit_bias.item(),
        "loss": "softmax" if is_clip else "sigmoid",
        "text_tokens": tokens,
    }
    (out / _FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")
    seal(out)


def _text_tokens(model: Any) -> int:
    return int(model.config.text_config.max_position_embeddings)
