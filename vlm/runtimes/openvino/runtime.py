"""Forward passes by OpenVINO, the default on a CPU. Nothing here imports torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from vlm.checkpoints.files import model_size
from vlm.errors import first_line
from vlm.processing.image_processor import PixelValues
from vlm.runtimes.base import LARGE_MODEL_PARAMETERS, Attended, Capability, Predicted
from vlm.runtimes.openvino.cache import (
    EMBEDDINGS_FILE,
    FACTS_FILE,
    TEXT_FILE,
    VISION_FILE,
    Conversion,
    default_cache_folder,
    get_conversion,
)
from vlm.runtimes.openvino.convert import ConversionError, convert_in_a_process
from vlm.runtimes.openvino.platform import (
    OpenVinoUnavailableError,
    Precision,
    memory_errors,
    openvino_here,
)
from vlm.runtimes.openvino.text import OpenVinoKVState, OpenVinoText
from vlm.runtimes.openvino.vision import Features, OpenVinoVision, OpenVinoVisionState
from vlm.runtimes.trees import Asked, Tree

# A small model's passes take milliseconds, so two other sequences may run between two tokens, and
# the first token waits less for other captions to end. With nine cameras it came after 8.2 instead
# of 10.8 times as long as with one; two cores of a Zen 4 made 44 instead of 38 captions a second.
_SMALL_MODEL_BATCH: Final = 3


class OpenVinoRuntime:
    """`Runtime` over a checkpoint that is converted at its first start."""

    name = "openvino"
    device = "cpu"
    tiles_per_pass = 1
    # A batch of eight is as fast as eight passes one after the other (docs/experiments.md).
    capabilities: frozenset[Capability] = frozenset(
        {"changed", "looks", "patches", "refeed", "score"}
    )

    def __init__(
        self,
        source: Conversion,
        precision: Precision,
        threads: int | None = None,
        *,
        is_small: bool = False,
    ) -> None:
        """`source` is a complete conversion for `precision`; `threads` None lets OpenVINO choose.

        With `is_small` the passes of several sequences are interleaved.
        """
        self.max_batch = _SMALL_MODEL_BATCH if is_small else 1
        facts = json.loads((source.folder / FACTS_FILE).read_text(encoding="utf-8"))
        # Kept: the files are memory-mapped, and a temporary folder is deleted with its object.
        self._source = source
        self._image_token_id: int = facts["image_token_id"]
        self.context_tokens: int = facts["context_tokens"]
        self.dtype = precision.name
        # The text model always calculates in float32: see Precision.
        self.exact_splits = True
        self._embeddings: Features = np.load(source.folder / EMBEDDINGS_FILE, mmap_mode="r")
        properties = _properties(threads)
        self._text = OpenVinoText(
            source.folder / TEXT_FILE, properties | precision.text_properties, is_small=is_small
        )
        self.layers = self._text.layers
        self._vision = OpenVinoVision(
            source.folder / VISION_FILE, facts, properties | precision.vision_properties
        )
        self.patch_px, self.patches = self._vision.patch_px, self._vision.patches

    @classmethod
    def load(
        cls,
        folder: Path,
        precision: Precision,
        on_progress: Callable[[str], None],
        *,
        threads: int | None = None,
        cache_folder: Path | None = None,
    ) -> OpenVinoRuntime:
        """Load the checkpoint in `folder`, converted if the cache does not hold it yet.

        `on_progress` receives a line for each step of a conversion. Raise CheckpointError if files
        are missing, OpenVinoUnavailableError if torch may still run the model.
        """
        try:
            source = _conversion(folder, precision, on_progress, cache_folder)
            is_small = model_size(folder).parameters < LARGE_MODEL_PARAMETERS
            return cls(source, precision, threads, is_small=is_small)
        except (ConversionError, OSError, RuntimeError) as error:
            raise OpenVinoUnavailableError(
                f"OpenVINO does not run {folder.name}: {first_line(error)}."
            ) from error

    def encode_image(self, pixel_values: PixelValues) -> Features:
        """Return the features of [tiles, 3, side, side]: [tiles * tokens per tile, hidden].

        Raise ValueError for a side that is larger than the model's, or has no whole tokens.
        """
        with memory_errors():
            return self._vision.encode(pixel_values)

    def features_array(self, features: Features) -> Features:
        return features

    def new_vision_state(self, side_px: int) -> OpenVinoVisionState:
        with memory_errors():
            return self._vision.new_state(side_px)

    def encode_changed(
        self,
        state: OpenVinoVisionState,
        pixel_values: PixelValues,
        changed: npt.NDArray[np.int64],
    ) -> Features:
        with memory_errors():
            return state.encode(pixel_values, changed)

    def patch_features(self, pixel_values: PixelValues) -> Features:
        with memory_errors():
            return self._vision.encode_patches(pixel_values)

    def prefill(
        self,
        input_ids: Sequence[int],
        features: Sequence[Features],
        count: int = 1,
        want_logits: bool = False,
    ) -> tuple[OpenVinoKVState, Predicted]:
        """Raise ValueError if the number of image tokens differs from that of the features."""
        embeds = self._embed(input_ids, features)
        return self._text.fill(None, np.arange(len(embeds)), embeds, count, want_logits)

    def refeed(
        self,
        state: OpenVinoKVState,
        positions: npt.NDArray[np.int64],
        input_ids: Sequence[int],
        features: Sequence[Features],
        count: int,
        want_logits: bool = False,
    ) -> tuple[OpenVinoKVState, Predicted]:
        embeds = self._embed(input_ids, features)
        return self._text.fill(state, positions, embeds, count, want_logits)

    def verify(
        self,
        state: OpenVinoKVState,
        token_ids: Sequence[int],
        count: int,
        want_logits: bool = False,
    ) -> Predicted:
        return self._text.feed(state, self._embeddings[list(token_ids)], count, want_logits)

    def decode(self, state: OpenVinoKVState, token_id: int, want_logits: bool = False) -> Predicted:
        return self._text.feed(state, self._embeddings[[token_id]], 1, want_logits)

    def truncate(self, state: OpenVinoKVState, length: int) -> None:
        state.truncate(length)

    def fork(self, state: OpenVinoKVState, length: int) -> OpenVinoKVState:
        return self._text.fork(state, length)

    def score(self, state: OpenVinoKVState, tree: Tree, asked: Sequence[Asked]) -> list[float]:
        return self._text.score(state, self._embeddings[list(tree.token_ids)], tree, asked)

    def looks(
        self,
        state: OpenVinoKVState,
        length: int,
        token_ids: Sequence[int],
        layers: Sequence[int],
    ) -> Attended:
        return self._text.looks(state, length, self._embeddings[list(token_ids)], layers)

    def _embed(self, input_ids: Sequence[int], features: Sequence[Features]) -> Features:
        """Return [len(input_ids), hidden]; raise ValueError if image tokens and features differ."""
        ids = np.asarray(input_ids)
        embeds: Features = self._embeddings[ids]
        is_image = ids == self._image_token_id
        rows = sum(map(len, features))
        if int(is_image.sum()) != rows:
            raise ValueError(f"{int(is_image.sum())} image tokens, but {rows} features")
        if rows:
            embeds[is_image] = np.concatenate(list(features))
        return embeds


def load_vision(folder: Path, precision: Precision, threads: int | None = None) -> OpenVinoVision:
    """Load the vision encoder and connector of a checkpoint without its text model.

    Raise what `OpenVinoRuntime.load` raises.
    """
    try:
        source = _conversion(folder, precision, lambda _: None, None)
        facts = json.loads((source.folder / FACTS_FILE).read_text(encoding="utf-8"))
        properties = _properties(threads) | precision.vision_properties
        return OpenVinoVision(source.folder / VISION_FILE, facts, properties)
    except (ConversionError, OSError, RuntimeError) as error:
        raise OpenVinoUnavailableError(
            f"OpenVINO does not run {folder.name}: {first_line(error)}."
        ) from error


def _conversion(
    folder: Path,
    precision: Precision,
    on_progress: Callable[[str], None],
    cache_folder: Path | None,
) -> Conversion:
    """Return the conversion of a checkpoint, made if the cache does not hold it."""
    made_by = openvino_here().version

    def make(out: Path) -> None:
        convert_in_a_process(
            folder,
            out,
            precision.converter_options,
            lambda text: on_progress(f"Converting the model for OpenVINO, once: {text}"),
        )

    return get_conversion(
        folder, precision.variant, made_by, make, cache_folder or default_cache_folder()
    )


def _properties(threads: int | None) -> dict[str, object]:
    # By default the plugin starts a thread for each physical core. Without pinning they can leave a
    # busy core: as fast on an idle machine, 13 % faster beside a busy process.
    properties: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    if threads is not None:
        properties["INFERENCE_NUM_THREADS"] = threads
    return properties
